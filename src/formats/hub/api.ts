/** @file What the hub tells of a repository: the commit of a revision, its files, one file. */
import { z } from "zod";
import { FormatError, quoted } from "../errors.ts";
import { chunks, request, type Connection, type RequestOptions, type Subject } from "./http.ts";
import { defaultRevision, fileUrl, isCommit, isRepoPath, refName, type HubRef } from "./reference.ts";
import type { HubSettings } from "./settings.ts";

/** A file of a repository at a commit. */
export interface HubFile {
  readonly path: string;
  readonly size: number;
  /** Git's hash of the file, or of the pointer in its place. */
  readonly oid: string;
  /** Large files lie outside of git: sha256 and size of the content. */
  readonly lfs?: { readonly oid: string; readonly size: number };
  /** Its hash in the hub's newer storage, which Python's client keeps with the listing. */
  readonly xetHash?: string;
}

/** The name of a file's content in the cache. */
export const blobHash = (file: HubFile): string => file.lfs?.oid ?? file.oid;

/** So many hexadecimal digits. */
export const hex = (digits: number): z.ZodString => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const entrySchema = z.object({
  path: z.string().refine(isRepoPath, "a path that leads out of the repository"),
  size: bytes,
  oid: hex(40),
  lfs: z.object({ oid: hex(64), size: bytes }).optional(),
  xetHash: hex(64).optional(),
});

/** Answers of the hub are read up to here, a listing as a whole up to ten times that. */
const longestAnswer = 2 ** 25;

/** The hub's client library speaks through this: our retries, our errors, bounded answers, the token to nobody else. */
function answers(settings: HubSettings, ref: HubRef, options: RequestOptions): typeof fetch {
  const seen = new Set<string>();
  let left = 10 * longestAnswer;
  return (input) => {
    const url = input instanceof Request ? input.url : String(input);
    if (seen.has(url) || !url.startsWith(`${settings.endpoint}/`))
      throw invalid(ref, "the next page of a listing", quoted(url));
    seen.add(url);
    const read = async (connection: Connection): Promise<Response> => {
      const pieces: Uint8Array<ArrayBuffer>[] = [];
      let length = 0;
      for await (const piece of chunks(connection, settings)) {
        length += piece.length;
        left -= piece.length;
        if (length > longestAnswer || left < 0)
          throw invalid(ref, `an answer of at most ${longestAnswer} bytes`, "more");
        pieces.push(new Uint8Array(piece));
      }
      const { status, headers } = connection.response;
      return new Response(new Blob(pieces), { status, headers });
    };
    return request(settings, url, { ref }, read, { ...options, headers: { accept: "application/json" } });
  };
}

/** The commit that a revision stands for now. */
export async function commitOf(settings: HubSettings, ref: HubRef, options: RequestOptions = {}): Promise<string> {
  const { revision = defaultRevision } = ref;
  if (isCommit(revision)) return revision;
  const { modelInfo, datasetInfo } = await import("@huggingface/hub");
  const question = {
    name: ref.repo,
    revision,
    hubUrl: settings.endpoint,
    fetch: answers(settings, ref, options),
    additionalFields: ["sha" as const],
  };
  const { sha } = await understood(ref, () => (ref.type === "model" ? modelInfo(question) : datasetInfo(question)));
  if (typeof sha !== "string" || !isCommit(sha)) throw invalid(ref, "the hash of a commit", quoted(String(sha)));
  return sha;
}

/** All files of a commit, sorted by path. */
export async function listing(
  settings: HubSettings,
  ref: HubRef,
  commit: string,
  options: RequestOptions = {},
): Promise<HubFile[]> {
  const { listFiles } = await import("@huggingface/hub");
  const found = listFiles({
    repo: { type: ref.type, name: ref.repo },
    recursive: true,
    revision: commit,
    hubUrl: settings.endpoint,
    fetch: answers(settings, ref, options),
  });
  return understood(ref, async () => {
    const files: HubFile[] = [];
    for await (const entry of found) if (entry.type === "file") files.push(checked(ref, entry));
    return files.sort((a, b) => (a.path < b.path ? -1 : 1));
  });
}

/** An entry of a listing, if it is one. */
function checked(ref: HubRef, entry: unknown): HubFile {
  const { success, data, error } = entrySchema.safeParse(entry);
  if (success) return data;
  const [issue] = error.issues;
  throw invalid(ref, "a listing of files", `${issue?.path.join(".")}: ${issue?.message}`);
}

/** Answers that the client library cannot read are the hub's fault, not bugs of ours. */
async function understood<T>(ref: HubRef, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const { HubApiError, InvalidApiResponseFormatError } = await import("@huggingface/hub");
    for (const kind of [SyntaxError, TypeError, HubApiError, InvalidApiResponseFormatError])
      if (error instanceof kind) throw invalid(ref, "an answer of the hub", error.message, error);
    throw error;
  }
}

export const invalid = (ref: HubRef, expected: string, received: string, cause?: unknown): FormatError =>
  new FormatError("the hub's answer makes no sense", {
    code: "hub/invalid-answer",
    where: refName(ref),
    expected,
    received,
    cause,
  });

const identity = { "accept-encoding": "identity" };

/** What the headers of a file tell. `size` is not there where the server compresses. */
export type FileHead =
  | { readonly missing: true; readonly commit: string }
  | { readonly missing: false; readonly commit: string; readonly hash: string; readonly size: number | undefined };

const isMissing = ({ status, headers }: Response): boolean =>
  status === 404 && headers.get("x-error-code") === "EntryNotFound" && isCommit(headers.get("x-repo-commit") ?? "");

/**
 * A file as its headers describe it; undefined where redirects cannot be looked at (browsers). Large files are
 * redirected to other hosts, and what counts stands in the hub's own answer.
 */
export async function fileHead(
  settings: HubSettings,
  ref: HubRef,
  path: string,
  options: RequestOptions = {},
): Promise<FileHead | undefined> {
  const own = new URL(settings.endpoint).origin;
  const subject: Subject = { ref, path };
  const ask = { ...options, method: "HEAD", redirect: "manual", headers: identity, accepts: isMissing } as const;
  let url = fileUrl(settings.endpoint, ref, ref.revision ?? defaultRevision, path);
  let commit: string | null = null;
  for (let hop = 0; hop < 10; hop++) {
    const response = await request(settings, url, subject, ({ response }) => response, ask);
    if (response.type === "opaqueredirect") return undefined;
    const { headers, status } = response;
    if (isMissing(response)) return { missing: true, commit: headers.get("x-repo-commit")! };
    commit = headers.get("x-repo-commit") ?? commit;
    const location = headers.get("location");
    const next = location === null || status < 300 ? undefined : resolved(location, url);
    if (next?.origin === own) {
      url = next.href;
      continue;
    }
    const hash = normalized(headers.get("x-linked-etag") ?? headers.get("etag"));
    const length = headers.get("x-linked-size") ?? (next ? null : headers.get("content-length"));
    if (commit === null || !isCommit(commit) || hash === undefined)
      throw invalid(ref, "headers x-repo-commit and etag", "none: is the endpoint a hub?");
    return {
      missing: false,
      commit,
      hash,
      size: length !== null && /^\d{1,15}$/.test(length) ? Number(length) : undefined,
    };
  }
  throw invalid(ref, "a file", "redirects in a circle");
}

const resolved = (location: string, base: string): URL | undefined =>
  URL.canParse(location, base) ? new URL(location, base) : undefined;

/** `W/"abc"` → `abc`; it becomes the name of a file. */
function normalized(etag: string | null): string | undefined {
  const hash = etag?.replace(/^W\//, "").replaceAll('"', "");
  return hash !== undefined && /^\w[\w+.-]{0,127}$/.test(hash) ? hash : undefined;
}
