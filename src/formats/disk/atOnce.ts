/** @file Folders made and files replaced for those who cannot wait (Node). */
import fs, { renameSync, rmSync, writeFileSync } from "node:fs";
import paths from "node:path";
import { makeMissing } from "./folder.ts";
import { temporaryName } from "./temporary.ts";

/** Makes a folder and the folders above it, without waiting until they are on the disk; see {@link makeMissing}. */
export const makeFolderAtOnce = (folder: string): string[] => makeMissing(folder, { fs, paths });

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
