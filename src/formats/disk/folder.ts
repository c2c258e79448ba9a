/** @file Folders that are made, and last (Node). */

/**
 * Makes a folder and the folders above it, on the disk when it returns.
 * @throws FormatError where one cannot be made: a file is in the way, nothing may be written there
 */
export async function makeFolder(folder: string): Promise<void> {
  const { makeFolderAtOnce } = await import("./atOnce.ts");
  const { default: paths } = await import("node:path");
  for (const made of makeFolderAtOnce(folder)) await syncFolder(paths.dirname(made));
}

/** Makes the names in a folder last through a power cut. Systems that cannot are left alone. */
export async function syncFolder(folder: string): Promise<void> {
  const { open } = await import("node:fs/promises");
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
