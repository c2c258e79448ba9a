/** @file Locks between processes (Node): a file that outlives its holder only until the next one looks. */
import { systemCode } from "./systemError.ts";

interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly started: string;
}

/** Locks of this process: a lock with our own pid that is not in here is one of a dead process with the same pid. */
const held = new Set<string>();

const beat = 10_000;

export interface LockOptions {
  /**
   * Milliseconds after which a holder on another machine counts as dead, if it has not touched its lock. Only for
   * holders whose event loop is never blocked for so long. Default: it never does, for nobody can tell from here.
   */
  readonly silence?: number;
}

/**
 * Take the lock `path` for this process, if nobody alive has it. A holder that was killed (also by kill -9) is told by
 * its process id and start time. Returns how to let go, or who has it.
 *
 * @example
 * ```ts
 * const lock = await tryLock("download.lock");
 * if (typeof lock === "string") console.log(`taken by ${lock}`);
 * else await lock();
 * ```
 */
export async function tryLock(
  path: string,
  { silence = Infinity }: LockOptions = {},
): Promise<(() => Promise<void>) | string> {
  const { default: paths } = await import("node:path");
  const file = paths.resolve(path);
  if (held.has(file)) return "this very process";
  held.add(file);
  let taken = false;
  try {
    const holder = await take(file, silence);
    taken = holder === undefined;
    if (holder !== undefined) return holder;
  } finally {
    if (!taken) held.delete(file);
  }
  const { rm, utimes } = await import("node:fs/promises");
  const heart = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => undefined), beat);
  heart.unref();
  return async () => {
    clearInterval(heart);
    await rm(file, { force: true }).finally(() => held.delete(file));
  };
}

/** Take the lock when its turn comes; an abort rejects with the signal's reason. */
export async function waitForLock(
  path: string,
  signal: AbortSignal | undefined,
  options: LockOptions,
): Promise<() => Promise<void>> {
  const { setTimeout: sleep } = await import("node:timers/promises");
  for (;;) {
    signal?.throwIfAborted();
    const lock = await tryLock(path, options);
    if (typeof lock !== "string") return lock;
    await sleep(50 + 100 * Math.random(), undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
}

/** Takes the lock, from a dead holder if need be; returns who has it when it cannot be had. */
async function take(path: string, silence: number): Promise<string | undefined> {
  const { readFile } = await import("node:fs/promises");
  for (let attempt = 0; attempt < 5; attempt++) {
    if (await create(path)) return undefined;
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text === undefined) continue; // given back just now
    const holder = parse(text);
    if (holder && (await alive(holder, path, silence))) return `process ${holder.pid} on ${holder.host}`;
    await removeStale(path, text);
  }
  return "others, by turns";
}

/** Creates the lock with its content in one step; false when there is one already. */
async function create(path: string): Promise<boolean> {
  const { constants, copyFile, link, rm, writeFile } = await import("node:fs/promises");
  const { hostname } = await import("node:os");
  const own = `${path}.${process.pid}.tmp`;
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

/** Moves a dead holder's lock away, unless somebody else has taken it in between. */
async function removeStale(path: string, text: string): Promise<void> {
  const { link, readFile, rename, rm } = await import("node:fs/promises");
  const aside = `${path}.${process.pid}.tmp`;
  await rename(path, aside).catch(() => undefined);
  const moved = await readFile(aside, "utf8").catch(() => text);
  if (moved !== text) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

async function alive(holder: Holder, path: string, silence: number): Promise<boolean> {
  const { stat } = await import("node:fs/promises");
  const { hostname } = await import("node:os");
  if (holder.host !== hostname()) {
    const stats = await stat(path).catch(() => undefined);
    return stats !== undefined && Date.now() - stats.mtimeMs < silence;
  }
  if (holder.pid === process.pid) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return systemCode(error) !== "ESRCH";
  }
  return holder.started === (await startOf(holder.pid));
}

/** When a process started, in clock ticks since boot, where the system tells: tells a reused pid from the old one. */
async function startOf(pid: number): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

function parse(text: string): Holder | undefined {
  try {
    const { pid, host, started } = JSON.parse(text) as Partial<Holder>;
    return Number.isInteger(pid) && typeof host === "string" && typeof started === "string"
      ? { pid: pid!, host, started }
      : undefined;
  } catch {
    return undefined;
  }
}
