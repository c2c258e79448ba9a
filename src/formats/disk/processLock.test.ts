import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { tryLock, waitForLock } from "./processLock.ts";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "process-lock-"));
  path = join(folder, "x.lock");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const released = async (lock: string | (() => Promise<void>)): Promise<void> => {
  if (typeof lock === "string") throw new Error(`taken by ${lock}`);
  await lock();
};

it("is held by one at a time, in turn", async () => {
  let inside = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    const release = await waitForLock(path, undefined, {});
    most = Math.max(most, ++inside);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inside--;
    await release();
  };
  await Promise.all(Array.from({ length: 6 }, work));
  expect(most).toBe(1);
  expect(existsSync(path)).toBe(false);
});

it("is given up on when asked to", async () => {
  const lock = await tryLock(path);
  const stop = new AbortController();
  const waiting = waitForLock(path, stop.signal, {});
  stop.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  await released(lock);
});

it("is taken from the dead, and from nobody else", async () => {
  const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const holder = { pid: other.pid!, host: hostname(), started: "" };
  const stat = await readFile(`/proc/${other.pid}/stat`, "utf8").catch(() => "");
  const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  const far = { ...holder, host: "elsewhere", started };
  const cases: [object | string, object, boolean][] = [
    [{ ...holder, started }, {}, false],
    [far, {}, false],
    [far, { silence: 60_000 }, false],
    [far, { silence: 1000 }, true], // touched an hour ago, as all of these
    [{ ...holder, pid: process.pid }, {}, true], // an earlier process with our number
    ["", {}, true],
    ['{"pid": "x"}', {}, true],
  ];
  if (started !== "") cases.push([{ ...holder, started: "1" }, {}, true]); // a later process with its number
  for (const [content, options, free] of cases) {
    await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
    const touched = new Date(Date.now() - ("silence" in options && options.silence === 60_000 ? 0 : 3.6e6));
    await utimes(path, touched, touched);
    const lock = await tryLock(path, options);
    if (free) await released(lock);
    else expect(lock).toMatch(/^process \d+ on /);
  }
  const ended = new Promise((resolve) => other.on("exit", resolve));
  other.kill("SIGKILL");
  await ended;
  await writeFile(path, JSON.stringify({ ...holder, started }));
  await released(await tryLock(path));
});
