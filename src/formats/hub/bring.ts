/** @file Several files into the cache at once: what will come, whether there is room, how far it is. */
import { FormatError } from "../errors.ts";
import { fetchBlob, type Wanted } from "./download.ts";
import type { DownloadPlan, HubOptions } from "./options.ts";
import { refName, repoFolder, type HubRef } from "./reference.ts";
import { entryPath } from "./resolve.ts";
import type { HubSettings } from "./settings.ts";

/** Files downloaded at once. */
const atOnce = 4;

/**
 * Make the files entries of the commit's snapshot, downloading the blobs that are not there; their locations. Where
 * nothing may be downloaded, `failure` is thrown if something is missing.
 */
export async function bring(
  settings: HubSettings,
  ref: HubRef,
  commit: string,
  wanted: readonly Wanted[],
  options: Pick<HubOptions, "onPlan" | "onProgress">,
  failure?: FormatError,
): Promise<string[]> {
  const { store } = settings;
  const folder = repoFolder(ref);
  const missing = new Map<string, Wanted & { have: number }>();
  const locations = new Map<string, string>();
  const point = async (hash: string): Promise<void> => {
    for (const file of wanted)
      if (file.hash === hash && !locations.has(file.path))
        locations.set(file.path, await store.point(folder, `snapshots/${commit}/${file.path}`, hash));
  };
  for (const file of wanted) {
    const { path, size, hash } = file;
    const found = await store.find(entryPath(ref, commit, path));
    if (found?.size === size) locations.set(path, found.location);
    else if ((await store.blobSize(folder, hash)) === size) await point(hash);
    else missing.set(hash, { ...file, have: Math.min(size, await store.partialSize(folder, hash)) });
  }
  if (missing.size > 0) {
    if (failure) throw failure;
    await downloadAll(settings, ref, commit, [...missing.values()], options, point);
  }
  return wanted.map(({ path }) => locations.get(path)!);
}

async function downloadAll(
  settings: HubSettings,
  ref: HubRef,
  commit: string,
  files: readonly (Wanted & { readonly have: number })[],
  { onPlan, onProgress }: Pick<HubOptions, "onPlan" | "onProgress">,
  arrived: (hash: string) => Promise<void>,
): Promise<void> {
  const sum = (of: (file: (typeof files)[number]) => number): number =>
    files.reduce((total, file) => total + of(file), 0);
  const plan: DownloadPlan = {
    repo: refName(ref),
    commit,
    files: files.map(({ path, size, have }) => ({ path, size, have })),
    totalBytes: sum(({ size }) => size),
    haveBytes: sum(({ have }) => have),
    folder: settings.store.name,
    freeBytes: await settings.store.freeBytes(),
  };
  checkRoom(plan);
  onPlan?.(plan);

  const bytes = new Map<string, number>();
  const resumed = new Map<string, number>();
  const total = (of: ReadonlyMap<string, number>): number => [...of.values()].reduce((sum, count) => sum + count, 0);
  let filesDone = 0;
  const tell = (file: string): void =>
    onProgress?.({
      repo: plan.repo,
      file,
      bytes: total(bytes),
      totalBytes: plan.totalBytes,
      filesDone,
      files: files.length,
      resumed: total(resumed),
    });

  const stop = new AbortController();
  const signal = settings.signal ? AbortSignal.any([settings.signal, stop.signal]) : stop.signal;
  const queue = files.toSorted((a, b) => b.size - a.size);
  const work = async (): Promise<void> => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const { path } = file;
      await fetchBlob({ ...settings, signal }, { ref, path, commit }, file, (count, old) => {
        bytes.set(path, count);
        if (old) resumed.set(path, count);
        else if (count === 0) resumed.delete(path);
        tell(path);
      });
      await arrived(file.hash);
      bytes.set(path, file.size);
      filesDone++;
      tell(path);
    }
  };
  const running = Array.from({ length: Math.min(atOnce, files.length) }, () =>
    work().catch((error: unknown) => {
      stop.abort(error); // the others stop, too, and leave what they have
      throw error;
    }),
  );
  await Promise.allSettled(running);
  await Promise.all(running);
}

function checkRoom({ totalBytes, haveBytes, freeBytes, folder, repo }: DownloadPlan): void {
  const needed = totalBytes - haveBytes;
  if (freeBytes === undefined || needed <= freeBytes) return;
  throw new FormatError("there is no room for the download", {
    code: "hub/disk-full",
    where: `${folder}, for ${repo}`,
    expected: `${needed} bytes free`,
    received: `${freeBytes} bytes`,
    hint: "make room (`interpretune cache prune` helps), or let HF_HUB_CACHE name a folder on another disk",
  });
}
