/** @file One blob into the cache: taken up where it was left, checked before it counts. */
import { FormatError } from "../errors.ts";
import type { Subject } from "./http.ts";
import { readRange } from "./range.ts";
import { fileUrl, refName, repoFolder } from "./reference.ts";
import type { HubSettings } from "./settings.ts";
import type { Digest, HubStore, PartialBlob } from "./store.ts";

/** What is known of a blob before it comes. */
export interface Wanted {
  readonly path: string;
  readonly size: number;
  readonly hash: string;
}

/**
 * Bring a blob into the cache, unless another process does so first. `onBytes` hears how many bytes are there (it may
 * fall back to 0 where what an earlier download left was wrong).
 */
export async function fetchBlob(
  settings: HubSettings,
  subject: Subject & { readonly commit: string },
  wanted: Wanted,
  onBytes: (bytes: number, resumed: boolean) => void,
): Promise<void> {
  const { store, signal, endpoint } = settings;
  const { size, hash, path } = wanted;
  const folder = repoFolder(subject.ref);
  const url = fileUrl(endpoint, subject.ref, subject.commit, path);
  const release = await store.lock(folder, hash, signal);
  try {
    if ((await store.blobSize(folder, hash)) === size) return onBytes(size, true);
    const partial = await store.partial(folder, hash);
    try {
      if (partial.size > size) await partial.clear();
      // What has come may be wrong, and a server may not send parts: then once more, from the start.
      for (let again = false; ; again = true) {
        const failure = await complete(partial);
        if (failure === undefined) return await partial.commit();
        await partial.clear();
        if (again) throw failure;
        onBytes(0, false);
      }
    } finally {
      await partial.close();
    }
  } finally {
    await release();
  }

  /** Downloads what is missing; what keeps the whole from being what it should be. */
  async function complete(partial: PartialBlob): Promise<FormatError | undefined> {
    const digest = await contentDigest(store, hash, size);
    let at = 0;
    for await (const piece of partial.read()) {
      signal?.throwIfAborted();
      await digest.update(piece);
      at += piece.length;
      onBytes(at, true);
    }
    try {
      await readRange(settings, url, subject, { start: at, end: size, size }, async (chunk) => {
        await digest.update(chunk);
        at += chunk.length;
        await partial.append(chunk);
        onBytes(at, false);
      });
    } catch (error) {
      if (error instanceof FormatError && error.code === "hub/no-ranges") return error;
      throw error;
    }
    const found = await digest.finish();
    if (found === "" || found === hash) return undefined;
    return new FormatError("The file that came is not the one that the hub announced", {
      code: "hub/corrupt",
      where: `${refName(subject.ref)}, ${path}`,
      expected: `content with the hash ${hash}`,
      received: found,
      hint: "try again; something between here and the hub changes what it sends",
    });
  }
}

/** Git names a file by sha1 of its length and content, the store of large files by sha256; other names say nothing. */
export async function contentDigest(store: Pick<HubStore, "digest">, hash: string, size: number): Promise<Digest> {
  if (/^[0-9a-f]{64}$/.test(hash)) return store.digest("sha256");
  if (!/^[0-9a-f]{40}$/.test(hash)) return { update: () => undefined, finish: () => "" };
  const digest = await store.digest("sha1");
  await digest.update(new TextEncoder().encode(`blob ${size}\0`));
  return digest;
}
