/** @file Where the hub is, where its cache is and who asks: options, then environment, then files, as Python does it. */
import { FormatError } from "../errors.ts";
import type { HubOptions } from "./options.ts";
import { nodeStore } from "./nodeStore.ts";
import type { HubStore } from "./store.ts";

export interface HubSettings {
  readonly endpoint: string;
  readonly offline: boolean;
  readonly token: Token | undefined;
  readonly store: HubStore;
  readonly signal: AbortSignal | undefined;
  readonly fetch: typeof fetch;
  /** Milliseconds before the first retry. */
  readonly retryDelay: number;
  /** Milliseconds that a server may be silent. */
  readonly timeout: number;
}

/** A secret and where it came from; only the place is ever shown. */
export interface Token {
  readonly secret: string;
  readonly from: string;
}

type Environment = Readonly<Partial<Record<string, string>>>;

const truthy = (value: string | undefined): boolean =>
  value !== undefined && ["1", "ON", "YES", "TRUE"].includes(value.toUpperCase());

const environment = (): Environment => (typeof process === "undefined" ? {} : process.env);

export async function hubSettings(options: HubOptions): Promise<HubSettings> {
  const env = options.env ?? environment();
  const offline = options.offline ?? truthy(env["HF_HUB_OFFLINE"] || env["TRANSFORMERS_OFFLINE"]);
  return {
    endpoint: checkedEndpoint(options.endpoint ?? (env["HF_ENDPOINT"] || "https://huggingface.co")),
    offline,
    token: offline ? undefined : await findToken(options.token, env),
    store: options.store ?? (await nodeStore(options.cacheDir ?? (await defaultCacheDir(env)))),
    signal: options.signal,
    fetch: options.fetch ?? globalThis.fetch,
    retryDelay: options.retryDelay ?? 500,
    timeout: options.timeout ?? (Number(env["HF_HUB_DOWNLOAD_TIMEOUT"]) || 10) * 1000,
  };
}

/** An address may carry a password: it is never shown. */
function checkedEndpoint(given: string): string {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url && /^https?:$/.test(url.protocol) && url.username + url.password + url.search + url.hash === "")
    return given.replace(/\/+$/, "");
  throw new FormatError("the hub's endpoint is no address", {
    code: "hub/endpoint",
    where: "HF_ENDPOINT, or the option endpoint",
    expected: "an address such as https://huggingface.co",
    received: url === undefined ? "something else" : `one of ${url.protocol}//, or with a user, a query or a fragment`,
    hint: "a token goes into HF_TOKEN",
  });
}

/**
 * The folder of the hub's cache on this machine: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `hub` below `HF_HOME`,
 * `huggingface/hub` below `XDG_CACHE_HOME` or below `~/.cache`.
 *
 * @example
 * ```ts
 * console.log(await defaultCacheDir({ HF_HOME: "/data/hf" })); // /data/hf/hub
 * ```
 */
export async function defaultCacheDir(env: Environment = environment()): Promise<string> {
  const { default: paths } = await import("node:path");
  const given = env["HF_HUB_CACHE"] ?? env["HUGGINGFACE_HUB_CACHE"];
  return given === undefined ? paths.join(await home(env), "hub") : expand(given, env);
}

async function home(env: Environment): Promise<string> {
  const { default: paths } = await import("node:path");
  const { homedir } = await import("node:os");
  return expand(
    env["HF_HOME"] ?? paths.join(env["XDG_CACHE_HOME"] ?? paths.join(homedir(), ".cache"), "huggingface"),
    env,
  );
}

/** `~` and `$NAME`, as Python's expanduser and expandvars. */
async function expand(path: string, env: Environment): Promise<string> {
  const { homedir } = await import("node:os");
  return path
    .replace(/^~(?=$|[/\\])/, () => homedir())
    .replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, braced?: string, bare?: string) => env[(braced ?? bare)!] ?? whole);
}

async function findToken(given: string | undefined, env: Environment): Promise<Token | undefined> {
  const clean = (secret: string | undefined, from: string): Token | undefined => {
    const text = secret?.replaceAll(/[\r\n]/g, "").trim();
    return text ? { secret: text, from } : undefined;
  };
  if (given !== undefined) return clean(given, "the option token");
  if (truthy(env["HF_HUB_DISABLE_IMPLICIT_TOKEN"])) return undefined;
  for (const name of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) {
    const token = clean(env[name], name);
    if (token) return token;
  }
  if (typeof process === "undefined") return undefined;
  const { readFile } = await import("node:fs/promises");
  const { default: paths } = await import("node:path");
  const file =
    env["HF_TOKEN_PATH"] === undefined ? paths.join(await home(env), "token") : await expand(env["HF_TOKEN_PATH"], env);
  return clean(await readFile(file, "utf8").catch(() => undefined), file);
}
