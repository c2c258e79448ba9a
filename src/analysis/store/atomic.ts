/** @file Files that are there whole or not at all, and their folders, with an analysis's errors. */
import { writeFileAtomic } from "../../formats/index.ts";
import * as disk from "../../formats/disk/folder.ts";
import { systemCause, systemCode } from "../../formats/disk/systemError.ts";
import { AnalysisError } from "../errors.ts";

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
      cause: systemCause(cause),
    });
  }
}

/** Makes a folder and the folders above it, durably. */
export const makeFolder = (folder: string): Promise<void> => writing(folder, () => disk.makeFolder(folder));

/** Writes a file so that after a crash at any moment the path holds the old bytes or the new ones. */
export const writeAtomic = (path: string, content: Uint8Array | string): Promise<void> =>
  writing(path, () => writeFileAtomic(path, content));
