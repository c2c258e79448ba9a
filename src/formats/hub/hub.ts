/** @file Files of the hub: from the cache where they are there, into it where they are not. */
import { byteSource, type ByteSource } from "../byteSource.ts";
import { FormatError } from "../errors.ts";
import { blobHash, type HubFile } from "./api.ts";
import { bring } from "./bring.ts";
import type { HubOptions } from "./options.ts";
import { pathFilter } from "./patterns.ts";
import { readRange } from "./range.ts";
import { checkPath, checkRef, fileUrl, refName, repoFolder, type HubRef } from "./reference.ts";
import { contentSize, entryPath, locate, locateAll } from "./resolve.ts";
import { hubSettings } from "./settings.ts";

/**
 * A file of a repository, as a path on this machine: below `snapshots/<commit>/` in the cache that Python's client
 * uses, too. What is not there yet is downloaded, on from where an earlier download was interrupted, and checked against
 * its hash. A revision that is a commit needs no request at all once its file is there; where the hub cannot be reached,
 * the commit that the revision last stood for counts.
 *
 * @example
 * ```ts
 * const path = await hubFile({ type: "model", repo: "openai-community/gpt2" }, "config.json");
 * ```
 * @throws FormatError with a code `hub/…`: `gated`, `repo-not-found`, `revision-not-found`, `entry-not-found`,
 * `unavailable`, `offline`, `corrupt`, `disk-full` and others; the message says what to do
 */
export async function hubFile(ref: HubRef, path: string, options: HubOptions = {}): Promise<string> {
  checkRef(ref);
  checkPath(path);
  const settings = await hubSettings(options);
  const { commit, location, size, hash } = await locate(settings, ref, path);
  return location ?? (await bring(settings, ref, commit, [{ path, size, hash }], options))[0]!;
}

/**
 * The files of a repository whose paths match a pattern (all without patterns), brought to this machine as
 * {@link hubFile} does, four at a time. Patterns are Python's: `*` stands for any characters, `/` too.
 *
 * @example
 * ```ts
 * const gpt2 = { type: "model", repo: "openai-community/gpt2" } as const;
 * const { folder, files } = await hubSnapshot(gpt2, { patterns: ["*.json", "model.safetensors"] });
 * ```
 */
export async function hubSnapshot(
  ref: HubRef,
  options: HubOptions & { readonly patterns?: readonly string[] } = {},
): Promise<{ folder: string; commit: string; files: readonly string[] }> {
  checkRef(ref);
  const settings = await hubSettings(options);
  const { commit, files, failure } = await locateAll(settings, ref);
  const matches = pathFilter(options.patterns);
  const wanted = files.filter(({ path }) => matches(path));
  if (wanted.length === 0)
    throw new FormatError("the repository has none of the files asked for", {
      code: "hub/entry-not-found",
      where: refName(ref),
      expected: options.patterns?.join(", "),
      received:
        files.length === 0
          ? "no files"
          : `${files.length} files, such as ${files
              .slice(0, 5)
              .map(({ path }) => path)
              .join(", ")}`,
    });
  const asked = wanted.map((file) => ({ path: file.path, size: contentSize(file), hash: blobHash(file) }));
  await bring(settings, ref, commit, asked, options, failure);
  const folder = settings.store.location(`${repoFolder(ref)}/snapshots/${commit}`);
  return { folder, commit, files: wanted.map(({ path }) => path) };
}

/**
 * The files of a repository at a revision, with sizes and hashes, without downloading any. The list of a commit is asked
 * for once and kept in the cache.
 *
 * @example
 * ```ts
 * const { commit, files } = await hubFiles({ type: "dataset", repo: "aps/super_glue" });
 * ```
 */
export async function hubFiles(
  ref: HubRef,
  options: HubOptions = {},
): Promise<{ commit: string; files: readonly HubFile[] }> {
  checkRef(ref);
  const { commit, files } = await locateAll(await hubSettings(options), ref);
  return { commit, files };
}

/**
 * A file of a repository as a byte source. From the cache where it is there; else each read is a request for just that
 * range, and nothing is kept: the header of a large checkpoint costs a few kilobytes.
 *
 * @example
 * ```ts
 * const source = await hubSource({ type: "model", repo: "openai-community/gpt2" }, "model.safetensors");
 * const { names } = await openSafetensors(source); // reads the header only
 * ```
 */
export async function hubSource(ref: HubRef, path: string, options: HubOptions = {}): Promise<ByteSource> {
  checkRef(ref);
  checkPath(path);
  const settings = await hubSettings(options);
  const { commit, location, size } = await locate(settings, ref, path);
  if (location !== undefined) return settings.store.open(entryPath(ref, commit, path));
  const url = fileUrl(settings.endpoint, ref, commit, path);
  return byteSource({
    name: `${refName(ref)}/${path}`,
    byteLength: size,
    async fill(target, position) {
      let at = 0;
      const range = { start: position, end: position + target.length, size };
      await readRange(settings, url, { ref, path }, range, (chunk) => {
        target.set(chunk, at);
        at += chunk.length;
      });
    },
  });
}
