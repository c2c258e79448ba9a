/** @file A folder as a commit of a repository on the hub. */
import { FormatError, quoted } from "../errors.ts";
import { invalid } from "./api.ts";
import { request } from "./http.ts";
import type { HubOptions } from "./options.ts";
import { checkRef, defaultRevision, refName, repoUrl, type HubRef } from "./reference.ts";
import { hubSettings, type HubSettings } from "./settings.ts";

export interface UploadOptions extends Pick<
  HubOptions,
  "endpoint" | "token" | "signal" | "env" | "fetch" | "retryDelay" | "timeout"
> {
  /** Title of the commit. Default `Upload <name of the folder>`. */
  readonly message?: string;
  /** Who sees the repository if it has to be made. Default `public`, as with Python's client. */
  readonly visibility?: "public" | "private";
  /** Called before anything is sent; throw to refuse. */
  readonly onPlan?: (plan: UploadPlan) => void;
  /** Bytes of the files that are there, of all. */
  readonly onProgress?: (bytes: number, totalBytes: number) => void;
}

/** What an upload is going to send. */
export interface UploadPlan {
  /** `datasets/owner/name` */
  readonly repo: string;
  readonly files: readonly { readonly path: string; readonly size: number }[];
  readonly totalBytes: number;
}

/** Where an upload went. */
export interface Uploaded {
  readonly commit: string;
  /** The repository's page. */
  readonly url: string;
  readonly files: number;
  readonly totalBytes: number;
}

/**
 * Sends a folder to the hub as one commit (Node): a saved model, an SAE, a store laid out as a data set. Everything in it
 * but hidden files goes along; what the repository already has under other paths stays. The repository is made if there is
 * none; large files go first, so that an upload that breaks off leaves the repository as it was, and does not send again
 * what has arrived. A revision names the branch. Hidden files are those whose path has a part that begins with a dot.
 *
 * @throws FormatError with a code `hub/…`: `no-token`, `unauthorized`, `forbidden`, `repo-not-found`, `unavailable`,
 * `empty`, `offline`; the message says what to do, and never shows the token
 * @example
 * ```ts
 * if (process.env.HF_TOKEN !== undefined) {
 *   const { url } = await hubUpload({ type: "model", repo: "owner/my-sae" }, "saes/blocks.9.hook_z");
 *   console.log(url);
 * }
 * ```
 */
export async function hubUpload(ref: HubRef, folder: string, options: UploadOptions = {}): Promise<Uploaded> {
  checkRef(ref);
  const { default: paths } = await import("node:path");
  const { onPlan, onProgress, ...asked } = options;
  const settings = await hubSettings(asked);
  const { token } = settings;
  const where = refName(ref);
  if (settings.offline)
    throw new FormatError("an upload needs the hub", { code: "hub/offline", where, hint: "unset HF_HUB_OFFLINE" });
  if (token === undefined)
    throw new FormatError("an upload needs a token that may write", {
      code: "hub/no-token",
      where,
      hint: "make one in the hub's settings (Access Tokens, write) and put it into the variable HF_TOKEN, or log in with `hf auth login`",
    });
  if (!token.secret.startsWith("hf_"))
    throw new FormatError("this is no token of the hub", {
      code: "hub/unauthorized",
      where: token.from,
      expected: "one that begins with hf_",
    });
  if (!ref.repo.includes("/"))
    throw new FormatError("an upload goes to somebody's repository", {
      code: "hub/invalid-ref",
      expected: "owner/name",
      received: quoted(ref.repo),
    });
  const files = await filesOf(folder);
  const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
  const plan: UploadPlan = { repo: where, files: files.map(({ path, size }) => ({ path, size })), totalBytes };
  onPlan?.(plan);

  const { createRepo, uploadFiles } = await import("@huggingface/hub");
  const shared = {
    repo: { type: ref.type, name: ref.repo },
    hubUrl: settings.endpoint,
    accessToken: token.secret,
  } as const;
  let sent = 0;
  const onSent = (bytes: number): void => onProgress?.((sent += bytes), totalBytes);
  await understood(ref, settings, () =>
    createRepo({
      ...shared,
      visibility: options.visibility ?? "public",
      fetch: speaking(settings, ref, ({ status }) => status === 409),
    }).catch((error: unknown) => {
      if (!isConflict(error)) throw error; // it is there
    }),
  );
  const made = await understood(ref, settings, () =>
    uploadFiles({
      ...shared,
      files: files.map(({ path, url }) => ({ path, content: url })),
      branch: ref.revision ?? defaultRevision,
      commitTitle: options.message ?? `Upload ${paths.basename(paths.resolve(folder))}`,
      fetch: speaking(settings, ref, undefined, onSent),
      useXet: false,
      ...(options.signal && { abortSignal: options.signal }),
    }),
  );
  if (typeof made?.commit.oid !== "string") throw invalid(ref, "the hash of a commit", "none");
  onProgress?.(totalBytes, totalBytes);
  return { commit: made.commit.oid, url: repoUrl(settings.endpoint, ref), files: files.length, totalBytes };
}

interface LocalFile {
  readonly path: string;
  readonly size: number;
  readonly url: URL;
}

/** The files of a folder, hidden ones left out, sorted by path. */
async function filesOf(folder: string): Promise<LocalFile[]> {
  const { readdir, stat } = await import("node:fs/promises");
  const { default: paths } = await import("node:path");
  const { pathToFileURL } = await import("node:url");
  const entries = await readdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw new FormatError("the folder cannot be read", { code: "formats/io", where: folder, cause });
  });
  const files: LocalFile[] = [];
  for (const entry of entries.sort()) {
    const path = entry.split(paths.sep).join("/");
    if (path.split("/").some((part) => part.startsWith("."))) continue;
    const stats = await stat(paths.join(folder, entry));
    if (stats.isFile()) files.push({ path, size: stats.size, url: pathToFileURL(paths.join(folder, entry)) });
  }
  if (files.length === 0)
    throw new FormatError("there is nothing to upload", {
      code: "hub/empty",
      where: folder,
      expected: "a folder with files",
    });
  return files;
}

/** Bytes a second that a line may be as slow as. */
const slowest = 50_000;

/** The hub's client speaks through this: our retries, our errors. */
function speaking(
  settings: HubSettings,
  ref: HubRef,
  accepts?: (response: Response) => boolean,
  onSent?: (bytes: number) => void,
): typeof fetch {
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const { body } = init ?? {};
    const bytes = body instanceof Blob ? body.size : typeof body === "string" ? body.length : 0;
    const response = await request(settings, url, { ref }, ({ response }) => response, {
      method: init?.method === "POST" || init?.method === "PUT" ? init.method : "GET",
      headers: Object.fromEntries(new Headers(init?.headers)),
      timeout: settings.timeout + (1000 * bytes) / slowest,
      ...(body === undefined || body === null ? {} : { body }),
      ...(accepts && { accepts }),
    });
    if (init?.method === "PUT") onSent?.(bytes);
    return response;
  };
}

const isConflict = (error: unknown): boolean =>
  error instanceof Error && "statusCode" in error && error.statusCode === 409;

/** What the client library cannot make sense of is the hub's fault, or the token's. */
async function understood<T>(ref: HubRef, { signal, token }: HubSettings, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof FormatError || !(error instanceof Error)) throw error;
    throw invalid(ref, "an answer of the hub", error.message.replaceAll(token!.secret, "(token)"), error);
  }
}
