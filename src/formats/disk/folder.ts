/** @file Folders that are made, and last (Node). */
import type nodeFs from "node:fs";
import type nodePaths from "node:path";
import { FormatError } from "../errors.ts";
import { systemCode, systemMessage } from "./systemError.ts";

/** Node's modules, from whoever may import them at once and whoever must wait for them. */
export interface NodeModules {
  readonly fs: Pick<typeof nodeFs, "mkdirSync" | "statSync">;
  readonly paths: Pick<typeof nodePaths, "dirname" | "resolve">;
}

function isFolder(path: string, { fs }: NodeModules): boolean {
  try {
    return fs.statSync(path).isDirectory();
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
export function makeMissing(folder: string, node: NodeModules): string[] {
  const { fs, paths } = node;
  const missing: string[] = [];
  try {
    for (
      let path = paths.resolve(folder);
      !isFolder(path, node) && paths.dirname(path) !== path;
      path = paths.dirname(path)
    )
      missing.unshift(path);
    for (const path of missing)
      try {
        fs.mkdirSync(path);
      } catch (error) {
        if (!isFolder(path, node)) throw error; // else somebody else was faster
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

/**
 * Makes a folder and the folders above it, on the disk when it returns.
 * @throws FormatError where one cannot be made: a file is in the way, nothing may be written there
 */
export async function makeFolder(folder: string): Promise<void> {
  const { default: fs } = await import("node:fs");
  const { default: paths } = await import("node:path");
  for (const made of makeMissing(folder, { fs, paths })) await syncFolder(paths.dirname(made));
}

/** Makes the names in a folder last through a power cut. Systems that cannot are left alone. */
export async function syncFolder(folder: string): Promise<void> {
  const { open } = await import("node:fs/promises");
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
