/** @file Files that are there whole or not at all: written beside, synced, renamed. */
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { AnalysisError } from "../errors.ts";

/** The ending of files being written; one that is found later is left over from a run that died. */
export const temporary = ".tmp";

/** The code of a system error such as `EACCES`, or undefined. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

const reasons: Record<string, string> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the device",
  EDQUOT: "the disk quota is used up",
  ENOTDIR: "a part of the path is a file, not a folder",
  EEXIST: "a file of that name is in the way",
  ENOENT: "no such folder",
};

/** Runs a write and turns a system error into one sentence about the path. */
export async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const code = systemCode(cause);
    if (code === undefined) throw cause;
    throw new AnalysisError(`cannot write ${path}: ${reasons[code] ?? code}`, {
      code: "store/unwritable",
      hint: "choose another folder, or make room or permission there and run again",
      cause,
    });
  }
}

/** Makes the folder's list of names durable. Systems that cannot sync a folder are left alone. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** Makes a folder and the folders above it, durably. (Node's own recursive mkdir never returns below /proc.) */
export async function makeFolder(folder: string): Promise<void> {
  await writing(folder, async () => {
    const missing: string[] = [];
    let path = resolve(folder);
    while (!(await stat(path).catch(absent))?.isDirectory() && dirname(path) !== path) {
      missing.unshift(path);
      path = dirname(path);
    }
    for (const each of missing) {
      await mkdir(each).catch(async (error: unknown) => {
        if (!(await stat(each).catch(absent))?.isDirectory()) throw error; // else somebody else was faster
      });
      await syncFolder(dirname(each));
    }
  });
}

function absent(error: unknown): undefined {
  if (systemCode(error) !== "ENOENT" && systemCode(error) !== "ENOTDIR") throw error;
}

/** Writes a file so that after a crash at any moment the path holds the old bytes or the new ones. */
export async function writeAtomic(path: string, bytes: Uint8Array | string): Promise<void> {
  await writing(path, async () => {
    try {
      const handle = await open(path + temporary, "w");
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(path + temporary, path);
    } catch (error) {
      await rm(path + temporary, { force: true }).catch(() => undefined);
      throw error;
    }
    await syncFolder(dirname(path));
  });
}
