/** @file A run that is killed at any moment is resumed and ends with the same bytes. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { AnalysisStore } from "../src/analysis/store/index.ts";
import { full } from "./support/full.ts";

/** `FULL=1` kills more often. */
const killed = full ? 20 : 3;

const jiti = join(dirname(createRequire(import.meta.url).resolve("jiti/package.json")), "lib", "jiti-cli.mjs");
const child = fileURLToPath(new URL("support/storeChild.ts", import.meta.url));
const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "store-kill-"));
  folders.push(folder);
  return folder;
}

/** Runs the writer; kills it that many milliseconds after it began to write. Resolves to how it ended. */
function run(folder: string, killAfter?: number): Promise<number | string> {
  return new Promise((resolve, reject) => {
    const writer = spawn(process.execPath, [jiti, child, folder], { stdio: ["ignore", "pipe", "inherit"] });
    writer.on("error", reject);
    writer.on("exit", (code, signal) => resolve(signal ?? code ?? -1));
    writer.stdout.once("data", () => {
      if (killAfter !== undefined) setTimeout(() => writer.kill("SIGKILL"), killAfter);
    });
  });
}

/** Every Parquet file with its hash; other files by name only. */
async function fingerprint(folder: string): Promise<string[]> {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const lines = names.map(async ({ parentPath, name }) => {
    const path = join(parentPath, name);
    const shown = path.slice(folder.length + 1);
    if (!name.endsWith(".parquet")) return shown;
    return `${shown} ${createHash("sha256")
      .update(await readFile(path))
      .digest("hex")}`;
  });
  return (await Promise.all(lines)).sort();
}

it("kill -9 at random moments", async () => {
  const whole = await newFolder();
  expect(await run(whole)).toBe(0);
  const expected = await fingerprint(whole);
  expect(expected.length).toBe((4 * 2 + 3) * 6 + 1); // two tables of each of the four, three of an op's own; a manifest

  let kills = 0;
  let folder = await newFolder();
  while (kills < killed) {
    const ended = await run(folder, Math.random() * 150);
    if (ended === "SIGKILL") kills++;
    else expect(ended).toBe(0);
    // One that got to its end is as good as any other; the next kills hit a new one.
    if (ended === 0) {
      expect(await fingerprint(folder)).toEqual(expected);
      folder = await newFolder();
    }
  }
  expect(await run(folder)).toBe(0);
  expect(await fingerprint(folder)).toEqual(expected);
  const store = await AnalysisStore.open(folder);
  expect((await store.load("logit_diffs_attr_ablation")).examples.length).toBe(43);
  expect((await store.load("own")).batches).toHaveLength(6);
}, 240_000);
