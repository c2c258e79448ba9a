/**
 * @file A server that speaks the hub's protocol, with a second one for large files as the hub has it: repositories at
 * commits, listings in pages, redirects, ETags, ranges, refusals, and faults that a test asks for.
 */
import { createHash } from "node:crypto";
import { createReadStream, readdirSync, readFileSync, statSync } from "node:fs";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { uploads } from "./hubUploads.ts";

/** A file's content: bytes, text, or a file on disk for large ones. */
export type HubContent = string | Uint8Array | { readonly file: string };

export interface HubRepository {
  /** Default `model`. */
  readonly type?: "model" | "dataset";
  readonly id: string;
  readonly files: Readonly<Record<string, HubContent>>;
  /** Branches and tags. Default `main` only. */
  readonly refs?: readonly string[];
  /** Default: made of id and files. */
  readonly commit?: string | undefined;
  /** Needs this token; who has none is told that there is no such repository. */
  readonly private?: string;
  /** Needs this token, and says so. */
  readonly gated?: string;
  /** Old names, which are redirected. */
  readonly aliases?: readonly string[];
}

/** What goes wrong with an answer. */
export interface Fault {
  /** An answer of this status instead. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Hang up after that many bytes of the body. */
  readonly cutAfter?: number;
  /** Send no more after that many bytes, and keep the connection. */
  readonly stallAfter?: number;
  /** Milliseconds before each piece of the body. */
  readonly slow?: number;
  /** Other bytes than the file's. */
  readonly garbled?: boolean;
  /** The whole file, whatever range was asked for. */
  readonly wholeOnly?: boolean;
}

/** A request as it was answered. */
export interface Answered {
  readonly server: "hub" | "cdn";
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  status: number;
  /** Bytes of the body. */
  sent: number;
}

export interface HubServer {
  readonly endpoint: string;
  /** All requests, in order. */
  readonly requests: readonly Answered[];
  /** `GET gpt2/resolve/main/config.json`, of what has come since the last call. */
  recent(): string[];
  add(repository: HubRepository): string;
  /** The newest state of a repository. */
  find(type: "model" | "dataset", id: string): HubRepository | undefined;
  /** Uploads of large files go in parts of that many bytes. Default: whole. */
  partSize: number | undefined;
  /** Decides on the fault of each answer. */
  fault: (request: Answered) => Fault | undefined;
  close(): Promise<void>;
}

interface StoredFile {
  readonly size: number;
  readonly oid: string;
  readonly sha256: string | undefined;
  readonly content: HubContent;
}

interface Stored extends HubRepository {
  readonly commit: string;
  readonly stored: ReadonlyMap<string, StoredFile>;
}

/** Files that the hub keeps outside of git. */
const large = /\.(safetensors|bin|pt|npz|parquet|gguf)$/;
const pieceSize = 2 ** 16;

const gitSha1 = (bytes: Uint8Array): string =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

function store(path: string, content: HubContent): StoredFile {
  if (typeof content === "object" && "file" in content && !large.test(path))
    return store(path, readFileSync(content.file));
  if (typeof content === "string") return store(path, Buffer.from(content));
  if (!large.test(path)) {
    const bytes = content as Uint8Array;
    return { size: bytes.length, oid: gitSha1(bytes), sha256: undefined, content };
  }
  const bytes = "file" in content ? readFileSync(content.file) : content;
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${bytes.length}\n`;
  return { size: bytes.length, oid: gitSha1(Buffer.from(pointer)), sha256, content };
}

/** The files of a folder, for {@link HubRepository.files}. */
export function folderFiles(folder: string): Record<string, HubContent> {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const files = paths.filter((path) => statSync(join(folder, path)).isFile());
  return Object.fromEntries(files.map((path) => [path, { file: join(folder, path) }]));
}

/** Starts the hub; listings have that many entries a page. */
export async function hubServer({ pageSize = 1000 }: { pageSize?: number } = {}): Promise<HubServer> {
  const repositories: Stored[] = [];
  const requests: Answered[] = [];
  let reported = 0;
  let endpoint = "";
  let cdn = "";

  const hub: HubServer = {
    get endpoint() {
      return endpoint;
    },
    requests,
    recent() {
      const lines = requests.slice(reported).map(({ server, method, path }) => `${server} ${method} ${path}`);
      reported = requests.length;
      return lines;
    },
    add(repository) {
      const stored = new Map(Object.entries(repository.files).map(([path, content]) => [path, store(path, content)]));
      const seed = [...stored].map(([path, { oid }]) => path + oid).join();
      const commit = repository.commit ?? createHash("sha1").update(`${repository.id} ${seed}`).digest("hex");
      // What a branch stood for before stays reachable by its commit.
      const type = repository.type ?? "model";
      repositories.forEach((each, i) => {
        if (each.id === repository.id && (each.type ?? "model") === type) repositories[i] = { ...each, refs: [] };
      });
      repositories.push({ ...repository, commit, stored });
      return commit;
    },
    find: (type, id) => repositories.findLast((each) => each.id === id && (each.type ?? "model") === type),
    partSize: undefined,
    fault: () => undefined,
    async close() {
      for (const server of servers) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };

  const servers = [await listen("hub"), await listen("cdn")] as const;
  endpoint = origin(servers[0]);
  cdn = origin(servers[1]);
  const take = uploads({
    find: (type, id) => hub.find(type, id),
    add: (repository) => hub.add(repository),
    cdn,
    get partSize() {
      return hub.partSize;
    },
  });
  return hub;

  function listen(name: "hub" | "cdn"): Promise<Server> {
    const server = createServer((request, response) => {
      const url = new URL(request.url!, "http://hub");
      const answered: Answered = {
        server: name,
        method: request.method!,
        path: decodeURIComponent(url.pathname.slice(1)),
        query: url.search,
        range: request.headers.range,
        authorization: request.headers.authorization,
        status: 0,
        sent: 0,
      };
      requests.push(answered);
      const fault = hub.fault(answered) ?? {};
      const done =
        request.method === "POST" || request.method === "PUT"
          ? answerUpload(request, response, answered, fault)
          : name === "hub"
            ? answerHub(request, response, answered, fault)
            : answerCdn(response, answered, fault);
      done.catch(() => response.destroy());
    });
    return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
  }

  async function answerUpload(
    request: IncomingMessage,
    response: ServerResponse,
    answered: Answered,
    fault: Fault,
  ): Promise<void> {
    if (broken(response, answered, fault)) return;
    const { status, value, headers } = await take(request, answered.server === "cdn");
    answered.status = status;
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
  }

  async function answerHub(
    request: IncomingMessage,
    response: ServerResponse,
    answered: Answered,
    fault: Fault,
  ): Promise<void> {
    if (broken(response, answered, fault)) return;
    // Revisions are one segment, encoded: feature%2Fx.
    const segments = new URL(request.url!, endpoint).pathname.slice(1).split("/").map(decodeURIComponent);
    const api = segments[0] === "api";
    if (api) segments.shift();
    const kept = api && segments[0] === "resolve-cache";
    if (kept) segments.shift();
    const prefix = /^(models|datasets)$/.test(segments[0]!) ? segments.shift() : "models";
    const type = prefix === "datasets" ? "dataset" : "model";
    const verb = segments.findIndex((part, i) => i > 0 && i < 3 && /^(revision|tree|resolve)$/.test(part));
    const [id, action, revision = "main", ...rest] = kept
      ? [segments.slice(0, 2).join("/"), "content", ...segments.slice(2)]
      : [segments.slice(0, verb < 0 ? 2 : verb).join("/"), ...(verb < 0 ? ["revision"] : segments.slice(verb))];
    const known = repositories.filter((each) => (each.type ?? "model") === type);
    const alias = known.find((each) => each.aliases?.includes(id));
    if (alias) {
      const location = request.url!.replace(`/${id}/`, `/${alias.id}/`);
      return refuse(response, answered, 307, undefined, undefined, { location });
    }
    const versions = known.filter((each) => each.id === id);
    const newest = versions.at(-1);
    const allowed = (token: string | undefined): boolean =>
      token === undefined || answered.authorization === `Bearer ${token}`;
    if (answered.authorization !== undefined && !/^Bearer hf_/.test(answered.authorization))
      return refuse(response, answered, 401, undefined, "Invalid credentials in Authorization header");
    if (!newest || !allowed(newest.private))
      return refuse(
        response,
        answered,
        answered.authorization === undefined ? 401 : 404,
        "RepoNotFound",
        "Repository not found",
      );
    const version = versions.find(
      (each) => each.commit === revision || (each.refs ?? ["main"]).includes(revision === "HEAD" ? "main" : revision),
    );
    if (!version) return refuse(response, answered, 404, "RevisionNotFound", `Invalid rev id: ${revision}`);
    if (action === "revision")
      return json(response, answered, {
        _id: "0",
        id,
        modelId: id,
        sha: version.commit,
        private: version.private !== undefined,
        gated: version.gated !== undefined && "manual",
        downloads: 0,
        likes: 0,
        tags: [],
        lastModified: "2024-01-01T00:00:00.000Z",
        siblings: [...version.stored.keys()].map((rfilename) => ({ rfilename })),
      });
    if (!allowed(newest.gated))
      return refuse(
        response,
        answered,
        answered.authorization === undefined ? 401 : 403,
        "GatedRepo",
        `Access to ${type} ${id} is restricted.`,
      );
    if (action === "tree") return tree(response, answered, version, request.url!);
    const path = rest.join("/");
    const file = version.stored.get(path);
    const commit = { "x-repo-commit": version.commit };
    if (!file) return refuse(response, answered, 404, "EntryNotFound", "Entry not found", commit);
    const linked = {
      ...commit,
      "x-linked-etag": `"${file.sha256 ?? file.oid}"`,
      "x-linked-size": String(file.size),
      "accept-ranges": "bytes",
    };
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    if (file.sha256 !== undefined) {
      const location = `${cdn}/${type}s/${id}/${version.commit}/${encoded}?Signature=s3cret`;
      return refuse(response, answered, 302, undefined, undefined, { ...linked, location });
    }
    if (action === "resolve") {
      const location = `/api/resolve-cache/${type}s/${id.includes("/") ? id : `${id}/`}/${version.commit}/${encoded}`;
      if (id.includes("/")) return refuse(response, answered, 307, undefined, undefined, { ...commit, location });
    }
    await content(response, answered, file, fault, { ...commit, etag: `"${file.oid}"`, "accept-ranges": "bytes" });
  }

  /** The store of large files: signed addresses, ETags of its own, and no patience with tokens. */
  async function answerCdn(response: ServerResponse, answered: Answered, fault: Fault): Promise<void> {
    if (broken(response, answered, fault)) return;
    if (answered.authorization !== undefined || answered.query !== "?Signature=s3cret")
      return refuse(response, answered, 400, undefined, "Only one auth mechanism allowed");
    const version = repositories.find((each) =>
      answered.path.startsWith(`${each.type ?? "model"}s/${each.id}/${each.commit}/`),
    )!;
    const file = version.stored.get(answered.path.slice(answered.path.indexOf(version.commit) + 41))!;
    await content(response, answered, file, fault, {
      etag: '"5f363e0e58a95f06cbe9bbc662c5dfb6-12"',
      "accept-ranges": "bytes",
    });
  }

  function broken(response: ServerResponse, answered: Answered, fault: Fault): boolean {
    const { status, headers = {}, body = "" } = fault;
    if (status === undefined) return false;
    answered.status = status;
    response.writeHead(status, headers);
    response.end(answered.method === "HEAD" ? undefined : body);
    return true;
  }

  function tree(response: ServerResponse, answered: Answered, version: Stored, url: string): void {
    const address = new URL(url, endpoint);
    const from = Number(address.searchParams.get("cursor") ?? 0);
    const folders = new Set(
      [...version.stored.keys()].flatMap((path) =>
        path
          .split("/")
          .slice(0, -1)
          .map((_, i, parts) => parts.slice(0, i + 1).join("/")),
      ),
    );
    const entries = [
      ...[...folders].map((path) => ({ type: "directory", oid: "0".repeat(40), size: 0, path })),
      ...[...version.stored].map(([path, { size, oid, sha256 }]) => ({
        type: "file",
        oid,
        size,
        path,
        ...(sha256 !== undefined && { lfs: { oid: sha256, size, pointerSize: 134 } }),
      })),
    ];
    address.searchParams.set("cursor", String(from + pageSize));
    const more = from + pageSize < entries.length;
    json(
      response,
      answered,
      entries.slice(from, from + pageSize),
      more ? { link: `<${address.href}>; rel="next"` } : {},
    );
  }

  function json(response: ServerResponse, answered: Answered, value: unknown, headers: object = {}): void {
    const body = JSON.stringify(value);
    answered.status = 200;
    answered.sent = body.length;
    response.writeHead(200, { "content-type": "application/json; charset=utf-8", ...headers });
    response.end(body);
  }

  function refuse(
    response: ServerResponse,
    answered: Answered,
    status: number,
    code: string | undefined,
    message = "",
    headers: Readonly<Record<string, string>> = {},
  ): void {
    answered.status = status;
    response.writeHead(status, {
      "content-type": "application/json",
      ...headers,
      ...(code !== undefined && { "x-error-code": code }),
      ...(message !== "" && { "x-error-message": message }),
    });
    response.end(answered.method === "HEAD" ? undefined : JSON.stringify({ error: message }));
  }

  async function content(
    response: ServerResponse,
    answered: Answered,
    { size, content }: StoredFile,
    fault: Fault,
    headers: Readonly<Record<string, string>>,
  ): Promise<void> {
    const asked = fault.wholeOnly ? null : /^bytes=(\d+)-(\d*)$/.exec(answered.range ?? "");
    const start = Number(asked?.[1] ?? 0);
    const end = Math.min(asked?.[2] ? Number(asked[2]) + 1 : size, size);
    if (asked && start >= size) {
      answered.status = 416;
      response.writeHead(416, { ...headers, "content-range": `bytes */${size}` }).end();
      return;
    }
    answered.status = asked ? 206 : 200;
    response.writeHead(answered.status, {
      ...headers,
      "content-length": String(end - start),
      ...(asked && { "content-range": `bytes ${start}-${end - 1}/${size}` }),
    });
    if (answered.method === "HEAD" || start === end) return void response.end();
    const closed = once(response, "close");
    for await (const whole of pieces(content, start, end)) {
      if (fault.slow !== undefined) await sleep(fault.slow);
      const limit = Math.min(fault.cutAfter ?? Infinity, fault.stallAfter ?? Infinity) - answered.sent;
      const piece = fault.garbled ? whole.map((byte) => byte ^ 1) : whole;
      const sent = piece.subarray(0, Math.min(limit, piece.length));
      answered.sent += sent.length;
      const drained = response.write(sent);
      if (sent.length < piece.length || limit === piece.length) {
        if (fault.stallAfter !== undefined) return;
        await new Promise((resolve) => response.write("", resolve)); // what was sent does go out
        response.destroy();
        return;
      }
      if (!drained && !response.destroyed) await Promise.race([once(response, "drain"), closed]);
      if (response.destroyed) return;
    }
    response.end();
  }
}

async function* pieces(content: HubContent, start: number, end: number): AsyncGenerator<Uint8Array> {
  if (typeof content === "object" && "file" in content) {
    yield* createReadStream(content.file, { start, end: end - 1, highWaterMark: 16 * pieceSize });
    return;
  }
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  for (let at = start; at < end; at += pieceSize) yield bytes.subarray(at, Math.min(end, at + pieceSize));
}

const origin = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
