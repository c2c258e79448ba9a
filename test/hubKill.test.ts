/** Processes that download the same at once, and are killed while they do: one copy, nothing corrupt, no stale lock. */
import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { tryLock } from "../src/formats/disk/processLock.ts";
import { full } from "./support/full.ts";
import { hubFixture, noise } from "./support/hubFixture.ts";

/** `FULL=1` is the whole size. */
const [megabytes, kills] = full ? [500, 20] : [20, 2];

const jiti = join(dirname(createRequire(import.meta.url).resolve("jiti/package.json")), "lib", "jiti-cli.mjs");
const child = fileURLToPath(new URL("support/hubChild.ts", import.meta.url));

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return hash.digest("hex");
}

test(`two processes, ${megabytes} MB, ${kills} times kill -9`, async () => {
  const { hub, options, cacheDir } = await hubFixture();
  const weights = noise(megabytes * 1e6);
  hub.add({ id: "owner/name", files: { "model.safetensors": weights, "config.json": "{}" } });
  hub.fault = ({ server }) => (server === "cdn" ? { slow: megabytes > 100 ? 0 : 5 } : undefined);

  const start = (): { process: ChildProcess; began: Promise<void>; ended: Promise<number | string> } => {
    const process_ = spawn(process.execPath, [jiti, child, options.endpoint, cacheDir, "owner/name"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise<number | string>((resolve) =>
      process_.on("exit", (code, signal) => resolve(signal ?? code ?? -1)),
    );
    const began = new Promise<void>((resolve) => process_.stdout.once("data", () => resolve()));
    return { process: process_, began: Promise.race([began, ended.then(() => undefined)]), ended };
  };
  const repository = join(cacheDir, "models--owner--name");
  const blob = createHash("sha256").update(weights).digest("hex");

  // Of two that run, a random one is killed at a random moment and another takes its place.
  const running = [start(), start()];
  let killed = 0;
  while (killed < kills) {
    const victim = Math.floor(Math.random() * 2);
    await Promise.race(running.map(({ began }) => began));
    await new Promise((resolve) => setTimeout(resolve, Math.random() * (megabytes > 100 ? 500 : 200)));
    running[victim]!.process.kill("SIGKILL");
    if ((await running[victim]!.ended) === "SIGKILL") killed++;
    else expect(await running[victim]!.ended).toBe(0);
    running[victim] = start();
  }
  expect(await Promise.all(running.map(({ ended }) => ended))).toEqual([0, 0]);

  expect(await sha256(join(repository, "blobs", blob))).toBe(blob);
  expect(readdirSync(join(repository, "blobs")).filter((name) => name.startsWith(blob))).toEqual([blob]);
  // A process that was killed between a file and its lock leaves the lock: whoever looks next has it at once.
  const locks = join(cacheDir, ".locks/models--owner--name");
  for (const name of readdirSync(locks).filter((each) => !each.endsWith(".tmp"))) {
    const release = await tryLock(join(locks, name));
    expect(release, name).toBeTypeOf("function");
    await (release as () => Promise<void>)();
  }
  expect(statSync(join(repository, "refs/main")).size).toBe(40);
  // What one process had, the next did not ask for again: only what was on its way when it died came twice.
  const sent = hub.requests.filter(({ server }) => server === "cdn").reduce((sum, { sent }) => sum + sent, 0);
  expect(sent).toBeLessThan(weights.length + (kills + 1) * 16e6);
  hub.recent();
  const last = start();
  expect(await last.ended).toBe(0);
  expect(hub.recent()).toEqual(["hub GET api/models/owner/name/revision/main"]);
}, 600_000);
