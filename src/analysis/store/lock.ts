/** @file One writer per folder: a lock file that outlives its writer only until the next one looks. */
import { copyFile, constants, link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { AnalysisError } from "../errors.ts";
import { systemCode, temporary, writing } from "./atomic.ts";

export const lockFile = ".lock";

const holderSchema = z.object({ pid: z.number().int(), host: z.string(), started: z.string() });
type Holder = z.infer<typeof holderSchema>;

/** Locks of this process: a lock with our own pid that is not in here is one of a dead process with the same pid. */
const held = new Set<string>();

/** When a process started, in clock ticks since boot, where the system tells: tells a reused pid from the old one. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

async function alive(holder: Holder): Promise<boolean> {
  if (holder.host !== hostname()) return true; // nobody can tell from here
  if (holder.pid === process.pid) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return systemCode(error) !== "ESRCH";
  }
  return holder.started === (await startOf(holder.pid));
}

function parse(text: string): Holder | undefined {
  try {
    return holderSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** Creates the lock with its content in one step; false when there is one already. */
async function create(path: string): Promise<boolean> {
  const own = `${path}.${process.pid}${temporary}`;
  const holder: Holder = { pid: process.pid, host: hostname(), started: await startOf(process.pid) };
  try {
    await writeFile(own, JSON.stringify(holder));
    await link(own, path).catch((error: unknown) => {
      if (systemCode(error) === "EEXIST") throw error;
      return copyFile(own, path, constants.COPYFILE_EXCL); // a file system without links
    });
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  } finally {
    await rm(own, { force: true }).catch(() => undefined);
  }
}

/** Moves a dead writer's lock away, unless somebody else has taken the folder in between. */
async function removeStale(path: string, text: string): Promise<void> {
  const aside = `${path}.${process.pid}${temporary}`;
  await rename(path, aside).catch(() => undefined);
  const moved = await readFile(aside, "utf8").catch(() => text);
  if (moved !== text) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

/** Takes the lock, from a dead writer if need be; returns who has it when it cannot be had. */
async function take(path: string): Promise<string | undefined> {
  for (let attempt = 0; attempt < 5; attempt++) {
    if (await create(path)) return undefined;
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text === undefined) continue; // given back just now
    const holder = parse(text);
    if (holder && (await alive(holder))) return `process ${holder.pid} on ${holder.host}`;
    await removeStale(path, text);
  }
  return "others, by turns";
}

/**
 * Takes the folder for this process and returns the function that gives it back.
 *
 * @throws AnalysisError `store/locked` when another living writer has it; `store/unwritable`.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = join(resolve(folder), lockFile);
  const mine = !held.has(path);
  held.add(path);
  let taken = false;
  try {
    const holder = mine ? await writing(folder, () => take(path)) : "another writer of this very process";
    if (holder !== undefined)
      throw new AnalysisError(`another run is writing to ${folder}`, {
        code: "store/locked",
        received: `a lock of ${holder}`,
        hint: `wait for it or stop it; if it is gone, delete ${path}`,
      });
    taken = true;
  } finally {
    if (mine && !taken) held.delete(path);
  }
  return async () => {
    held.delete(path);
    await rm(path, { force: true });
  };
}
