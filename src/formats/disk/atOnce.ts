/** @file Folders made and files replaced for those who cannot wait (Node). */
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { FormatError } from "../errors.ts";
import { systemCode, systemMessage } from "./systemError.ts";
import { temporaryName } from "./temporary.ts";

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    throw error;
  }
}

/**
 * Makes a folder and the folders above it. Node's own recursive mkdir goes round for ever where the system says that there
 * is no folder to make one in although it is there, as Linux does below /proc.
 * @returns those that were not there, from the top
 * @throws FormatError where one cannot be made
 */
export function makeFolderAtOnce(folder: string): string[] {
  const missing: string[] = [];
  try {
    for (let path = resolve(folder); !isFolder(path) && dirname(path) !== path; path = dirname(path))
      missing.unshift(path);
    for (const path of missing)
      try {
        mkdirSync(path);
      } catch (error) {
        if (!isFolder(path)) throw error; // else somebody else was faster
      }
    return missing;
  } catch (cause) {
    throw new FormatError("the folder cannot be made", {
      code: "formats/folder",
      where: folder,
      received: systemMessage(cause),
      hint: "give another path: a folder, or one that can be made",
      cause,
    });
  }
}

/** Replaces a small file as a whole, without waiting until it is on the disk. */
export function replaceFileAtOnce(file: string, text: string): void {
  const temporary = temporaryName(file);
  try {
    writeFileSync(temporary, text);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
