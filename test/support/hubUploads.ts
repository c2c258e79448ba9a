/** @file What a hub does with uploads: repositories made, large files taken by a store of their own, commits. */
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { HubContent, HubRepository } from "./hubServer.ts";

/** An answer, as JSON. */
export interface Written {
  readonly status: number;
  readonly value: object;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What uploads change. */
export interface Writable {
  find(type: "model" | "dataset", id: string): HubRepository | undefined;
  add(repository: HubRepository): string;
  /** Where large files go. */
  readonly cdn: string;
  /** Large files go in parts of that many bytes; whole where it is undefined. */
  readonly partSize: number | undefined;
}

/** Tokens that may write begin so. */
const writer = /^Bearer hf_write/;

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** The part of a hub that is written to. */
export function uploads(hub: Writable): (request: IncomingMessage, onCdn: boolean) => Promise<Written> {
  const large = new Map<string, Buffer>();
  const parts = new Map<string, Buffer>();
  const refused = (status: number, message: string, code?: string): Written => ({
    status,
    value: { error: message },
    headers: { "x-error-message": message, ...(code !== undefined && { "x-error-code": code }) },
  });

  /** A large file, or a part of one, is what its address says. */
  async function take(request: IncomingMessage): Promise<Written> {
    const [, oid = "", part] = new URL(request.url!, hub.cdn).pathname.split("/").slice(1);
    if (request.headers.authorization !== undefined) return refused(400, "Only one auth mechanism allowed");
    const bytes = await bodyOf(request);
    if (part === "complete") {
      const { parts: given } = JSON.parse(bytes.toString()) as { parts: { partNumber: number; etag: string }[] };
      const all = given.map(({ partNumber }) => parts.get(`${oid}/${partNumber}`) ?? Buffer.alloc(0));
      return keep(oid, Buffer.concat(all));
    }
    if (part === undefined) return keep(oid, bytes);
    parts.set(`${oid}/${Number(part)}`, bytes);
    return { status: 200, value: {}, headers: { etag: `"part-${part}"` } };
  }

  function keep(oid: string, bytes: Buffer): Written {
    if (createHash("sha256").update(bytes).digest("hex") !== oid) return refused(400, "the content has another hash");
    large.set(oid, bytes);
    return { status: 200, value: {} };
  }

  /** Where to send those large files that are not there. */
  function batch(objects: readonly { oid: string; size: number }[]): Written {
    const actions = (oid: string, size: number): object => {
      const href = `${hub.cdn}/upload/${oid}`;
      if (hub.partSize === undefined || size <= hub.partSize) return { upload: { href } };
      const count = Math.ceil(size / hub.partSize);
      const urls = Array.from({ length: count }, (_, i) => String(i + 1).padStart(5, "0")).map((n) => [
        n,
        `${href}/${n}`,
      ]);
      const header = { chunk_size: String(hub.partSize), ...(Object.fromEntries(urls) as object) };
      return { upload: { href: `${href}/complete`, header } };
    };
    const answered = objects.map(({ oid, size }) => ({
      ...{ oid, size },
      ...(!large.has(oid) && { actions: actions(oid, size) }),
    }));
    return { status: 200, value: { transfer: "basic", objects: answered } };
  }

  function commit(type: "model" | "dataset", id: string, lines: readonly string[]): Written {
    const files: Record<string, HubContent> = { ...hub.find(type, id)?.files };
    for (const line of lines) {
      const { key, value } = JSON.parse(line) as { key: string; value: Record<string, string> };
      if (key === "file") files[value["path"]!] = Buffer.from(value["content"]!, value["encoding"] as BufferEncoding);
      if (key !== "lfsFile") continue;
      const bytes = large.get(value["oid"]!);
      if (bytes === undefined) return refused(400, `${value["path"]} has not arrived`);
      files[value["path"]!] = bytes;
    }
    const commitOid = hub.add({ ...hub.find(type, id), commit: undefined, type, id, files });
    return {
      status: 200,
      value: { success: true, commitOid, commitUrl: `/${id}/commit/${commitOid}`, hookOutput: "" },
    };
  }

  return async (request, onCdn) => {
    if (onCdn) return take(request);
    const path = decodeURIComponent(new URL(request.url!, hub.cdn).pathname.slice(1));
    const { authorization } = request.headers;
    const body = (await bodyOf(request)).toString();
    if (authorization === undefined) return refused(401, "Repository not found", "RepoNotFound");
    if (!/^Bearer hf_(write|read)/.test(authorization))
      return refused(401, "Invalid credentials in Authorization header");
    if (!writer.test(authorization)) return refused(403, "You have read access but not the required permissions");
    if (path === "api/repos/create") {
      const { type, organization, name, visibility } = JSON.parse(body) as Record<string, string>;
      const [kind, id] = [type === "dataset" ? "dataset" : "model", `${organization}/${name}`] as const;
      if (hub.find(kind, id)) return refused(409, "You already created this repo");
      hub.add({ type: kind, id, files: {}, ...(visibility === "private" && { private: authorization.slice(7) }) });
      return { status: 200, value: { url: `/${id}`, id } };
    }
    const [, prefix, id = "", verb] =
      /^(?:api\/)?(models\/|datasets\/)?(.+?)(?:\/(preupload|commit)\/[^/]+|\.git\/info\/lfs\/objects\/(?:batch))$/.exec(
        path,
      ) ?? [];
    const type = prefix === "datasets/" ? "dataset" : "model";
    if (!hub.find(type, id)) return refused(404, "Repository not found", "RepoNotFound");
    if (verb === "commit") return commit(type, id, body.trim().split("\n"));
    if (verb === undefined) return batch((JSON.parse(body) as { objects: { oid: string; size: number }[] }).objects);
    const { files } = JSON.parse(body) as { files: { path: string; size: number }[] };
    const modes = files.map(({ path: file }) => ({
      path: file,
      uploadMode: /\.(safetensors|parquet|bin|pt|npz|gguf)$/.test(file) ? "lfs" : "regular",
      shouldIgnore: false,
    }));
    return { status: 200, value: { files: modes } };
  };
}
