/** @file Requests to the hub: who may see the token, what is tried again, and what its refusals mean. */
import { FormatError, quoted } from "../errors.ts";
import { refName, repoUrl, type HubRef } from "./reference.ts";
import type { HubSettings } from "./settings.ts";

/** What a request is about, for messages. */
export interface Subject {
  readonly ref: HubRef;
  readonly path?: string;
}

export interface RequestOptions {
  readonly method?: "GET" | "HEAD" | "POST" | "PUT";
  readonly body?: BodyInit;
  readonly headers?: Readonly<Record<string, string>>;
  readonly redirect?: "follow" | "manual";
  /** Default 5. */
  readonly attempts?: number;
  /** Milliseconds until the answer has to begin. Default: the time that a server may be silent. */
  readonly timeout?: number;
  /** Refusals that are answers. */
  readonly accepts?: (response: Response) => boolean;
}

/** An answer, and how to hang up. */
export interface Connection {
  readonly response: Response;
  readonly abort: (reason: unknown) => void;
}

const retried = new Set([408, 429, 500, 502, 503, 504]);
/** The longest wait, in milliseconds, that a server may ask for. */
const longestWait = 120_000;

/**
 * What `read` makes of an answer that is no refusal. Failed connections and answers such as 429 and 503 are tried again,
 * with growing waits or after what `Retry-After` says; what is left is a `FormatError` that says what to do.
 */
export async function request<T>(
  settings: HubSettings,
  url: string,
  subject: Subject,
  read: (connection: Connection) => Promise<T> | T,
  options: RequestOptions = {},
): Promise<T> {
  const { attempts = 5 } = options;
  for (let attempt = 1; ; attempt++) {
    let failure: FormatError;
    let wait: number | undefined;
    try {
      const connection = await connect(settings, url, options);
      const { response } = connection;
      if (response.status < 400 || options.accepts?.(response)) return await read(connection);
      failure = await refusal(settings, connection, subject);
      wait = retryAfter(response);
      if (!retried.has(response.status)) throw failure;
    } catch (error) {
      settings.signal?.throwIfAborted();
      if (error instanceof FormatError) throw error;
      failure = unreachable(settings, subject, error);
    }
    if (attempt >= attempts || (wait ?? 0) > longestWait) throw failure;
    await pause(wait ?? backOff(settings, attempt), settings.signal);
  }
}

/** The body, piece by piece; a server that is silent for too long is hung up on. */
export async function* chunks({ response, abort }: Connection, settings: HubSettings): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  let since = Infinity;
  const watch = setInterval(() => {
    if (performance.now() - since > settings.timeout) abort(silent(settings.timeout));
  }, settings.timeout / 10);
  try {
    for (;;) {
      since = performance.now();
      const part = await reader.read();
      since = Infinity;
      if (part.done) return;
      yield part.value;
    }
  } finally {
    clearInterval(watch);
    await reader.cancel().catch(() => undefined);
  }
}

const silent = (timeout: number): Error => new Error(`the server was silent for ${timeout / 1000} s`);

export const backOff = (settings: HubSettings, attempt: number): number =>
  Math.min(settings.retryDelay * 2 ** (attempt - 1), 30_000) * (0.75 + 0.5 * Math.random());

/** Waits; an abort rejects at once with the signal's reason. */
export function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

async function connect(
  settings: HubSettings,
  url: string,
  { method = "GET", headers, redirect = "follow", body, timeout = settings.timeout }: RequestOptions,
): Promise<Connection> {
  const { signal, token, endpoint } = settings;
  // Redirects to other hosts drop the header by themselves.
  const authorization = token !== undefined && new URL(url).origin === new URL(endpoint).origin;
  if (authorization && !/^[\x21-\x7e]+$/.test(token.secret))
    throw new FormatError("the token has characters that no token has", {
      code: "hub/unauthorized",
      where: token.from,
      hint: "copy it anew from the hub's settings, Access Tokens",
    });
  const hangUp = new AbortController();
  const timer = setTimeout(() => hangUp.abort(silent(timeout)), timeout);
  try {
    const response = await settings.fetch(url, {
      method,
      redirect,
      headers: { ...headers, ...(authorization && { authorization: `Bearer ${token.secret}` }) },
      ...(body !== undefined && { body }),
      signal: signal ? AbortSignal.any([signal, hangUp.signal]) : hangUp.signal,
    });
    return { response, abort: (reason) => hangUp.abort(reason) };
  } finally {
    clearTimeout(timer);
  }
}

/** Milliseconds that the server asks to wait, in seconds or as a date. */
function retryAfter(response: Response): number | undefined {
  const text = response.headers.get("retry-after");
  if (text === null) return undefined;
  const wait = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(wait) ? Math.max(0, wait) : undefined;
}

export function unreachable(settings: HubSettings, { ref, path }: Subject, cause: unknown): FormatError {
  const reasons = [cause, cause instanceof Error ? cause.cause : undefined].filter((error) => error instanceof Error);
  return new FormatError("the hub cannot be reached", {
    code: "hub/unavailable",
    where: place(ref, path),
    received: redacted(settings, reasons.at(-1)?.message ?? String(cause)),
    hint: "check the connection, or set HF_HUB_OFFLINE=1 to work with what is in the cache",
    cause,
  });
}

/** A refusal of the hub as an error that says what to do. */
async function refusal(settings: HubSettings, connection: Connection, subject: Subject): Promise<FormatError> {
  const { response, abort } = connection;
  const { ref, path } = subject;
  const { status } = response;
  const code = response.headers.get("x-error-code");
  const said = redacted(settings, response.headers.get("x-error-message") ?? (await errorText(connection, settings)));
  abort(undefined);
  const where = place(ref, path);
  const page = repoUrl(settings.endpoint, ref);
  const received = `status ${status}${said === "" ? "" : `: ${quoted(said)}`}`;
  const fail = (message: string, kind: string, hint?: string): FormatError =>
    new FormatError(message, { code: `hub/${kind}`, where, received, hint });
  const token = settings.token
    ? `the token from ${settings.token.from} was sent; it has to belong to an account with access`
    : "no token was sent: put one (from the hub's settings, Access Tokens) into the variable HF_TOKEN, or log in with `hf auth login`";

  if (code === "GatedRepo")
    return fail(
      "the owners of this repository let in who asks for it",
      "gated",
      `accept the conditions at ${page}; ${token}`,
    );
  if (code === "RevisionNotFound")
    return fail(
      "the repository has no such branch, tag or commit",
      "revision-not-found",
      `its branches are listed at ${page}`,
    );
  if (code === "EntryNotFound" || (code === null && status === 404 && path !== undefined))
    return fail(
      "the repository has no such file",
      "entry-not-found",
      `its files are listed at ${page}/tree/${ref.revision ?? "main"}`,
    );
  if (status === 401 && /invalid credentials|invalid username or password/i.test(said) && settings.token)
    return fail(
      "the hub does not know this token",
      "unauthorized",
      `replace or remove the token from ${settings.token.from}`,
    );
  if (code === "RepoNotFound" || status === 404 || status === 401)
    return fail(
      "there is no such repository, or it is private",
      "repo-not-found",
      `check its name; for a private one ${token}`,
    );
  if (status === 403) return fail("the hub denies access", "forbidden", token);
  if (status === 429)
    return fail(
      "the hub asks to come back later: too many requests",
      "rate-limited",
      "wait a few minutes; with a token in HF_TOKEN the limit is higher",
    );
  if (retried.has(status))
    return fail("the hub has trouble", "unavailable", "try again later; HF_HUB_OFFLINE=1 uses what is in the cache");
  return fail("the hub refuses", "refused");
}

const place = (ref: HubRef, path: string | undefined): string => refName(ref) + (path === undefined ? "" : `, ${path}`);

/** The start of what a refusal says, without reading more than that. */
async function errorText(connection: Connection, settings: HubSettings): Promise<string> {
  const type = connection.response.headers.get("content-type") ?? "";
  if (!/json|text\/plain/.test(type)) return "";
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of chunks(connection, settings)) {
      text += decoder.decode(chunk.subarray(0, 4096), { stream: true });
      if (text.length >= 4096) break;
    }
  } catch {
    settings.signal?.throwIfAborted(); // else what came is enough
  }
  if (!type.includes("json")) return text.trim();
  const { error } = parseObject(text);
  return typeof error === "string" ? error : "";
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  } catch {
    return {};
  }
}

/** What others say may repeat what they were told. */
const redacted = ({ token }: HubSettings, text: string): string =>
  token === undefined ? text : text.replaceAll(token.secret, "(token)");
