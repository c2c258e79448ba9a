/** @file One blob into the cache: taken up where it was left, checked before it counts. */
import { FormatError } from "../errors.ts";
import type { Subject } from "./http.ts";
import { readRange } from "./range.ts";
import { fileUrl, refName, repoFolder } from "./reference.ts";
import type { HubSettings } from "./settings.ts";
import type { PartialBlob } from "./store.ts";

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
    const partial = await store.partial(folder, hash, size);
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
    let at = partial.size;
    if (at > 0) onBytes(at, true);
    try {
      await readRange(settings, url, subject, { start: at, end: size, size }, async (chunk) => {
        at += chunk.length;
        await partial.append(chunk);
        onBytes(at, false);
      });
    } catch (error) {
      if (error instanceof FormatError && error.code === "hub/no-ranges") return error;
      throw error;
    }
    const found = await partial.check();
    if (found === undefined || found === hash) return undefined;
    return new FormatError("the file that came is not the one that the hub announced", {
      code: "hub/corrupt",
      where: `${refName(subject.ref)}, ${path}`,
      expected: `content with the hash ${hash}`,
      received: found,
      hint: "try again; something between here and the hub changes what it sends",
    });
  }
}
