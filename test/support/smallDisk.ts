/** A small disk in memory (tmpfs), to be filled. Linux lets root mount one; elsewhere tests say that they are skipped. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface SmallDisk {
  /** Its folder. */
  readonly path: string;
  /** Leaves no room. */
  fill(): void;
  /** Gives the room back. */
  empty(): void;
  grow(size: string): void;
  /** Until `writable`. */
  readOnly(): void;
  writable(): void;
  unmount(): void;
}

/** @returns undefined where none can be mounted */
export function smallDisk(path: string, size: string): SmallDisk | undefined {
  mkdirSync(path, { recursive: true });
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path], { stdio: "ignore" });
  } catch {
    console.warn("full and read-only disks are not tested: a tmpfs cannot be mounted here");
    return undefined;
  }
  const filler = join(path, "filler");
  const remount = (option: string): void => void execFileSync("mount", ["-o", `remount,${option}`, path]);
  return {
    path,
    fill: () => {
      const file = openSync(filler, "w");
      try {
        for (const piece = new Uint8Array(4096); ;) writeSync(file, piece);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      } finally {
        closeSync(file);
      }
    },
    empty: () => rmSync(filler, { force: true }),
    grow: (to) => remount(`size=${to}`),
    readOnly: () => remount("ro"),
    writable: () => remount("rw"),
    unmount: () => void execFileSync("umount", [path]),
  };
}
