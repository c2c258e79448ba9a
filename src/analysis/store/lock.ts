/** @file One writer per folder: a lock file that outlives its writer only until the next one looks. */
import { join, resolve } from "node:path";
import { tryLock } from "../../formats/disk/processLock.ts";
import { AnalysisError } from "../errors.ts";
import { writing } from "./atomic.ts";

export const lockFile = ".lock";

/**
 * Takes the folder for this process and returns the function that gives it back.
 *
 * @throws AnalysisError `store/locked` when another living writer has it; `store/unwritable`.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = join(resolve(folder), lockFile);
  const lock = await writing(folder, () => tryLock(path));
  if (typeof lock === "string")
    throw new AnalysisError(`another run is writing to ${folder}`, {
      code: "store/locked",
      received: `a lock of ${lock}`,
      hint: `wait for it or stop it; if it is gone, delete ${path}`,
    });
  return lock;
}
