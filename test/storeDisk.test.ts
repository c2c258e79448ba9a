/** @file Stores on disks that are full or read-only, and paths that are taken: one clear error, then a clean resume. */
import { execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AnalysisError, AnalysisStore, StoreWriter } from "../src/analysis/index.ts";
import { storeConfig, storeOptions, storeRows } from "./support/storeRows.ts";

let base: string;
let whole: Record<string, string>;
let disk: string | undefined;

function mount(...args: string[]): boolean {
  try {
    execFileSync("mount", args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "store-disk-"));
  await write(join(base, "whole"));
  whole = await files(join(base, "whole"));
  const path = join(base, "disk");
  await mkdir(path);
  if (mount("-t", "tmpfs", "-o", "size=96k", "tmpfs", path)) disk = path;
  else console.warn("full and read-only disks are not tested: a tmpfs cannot be mounted here");
});
afterAll(async () => {
  if (disk !== undefined) execFileSync("umount", [disk]);
  await rm(base, { recursive: true, force: true });
});

async function write(folder: string): Promise<void> {
  await using writer = await StoreWriter.create(folder, storeConfig, storeOptions);
  for (const { shard, analyses } of writer.missing())
    for (const name of analyses) await writer.write(shard, name, storeRows(shard, name));
  await writer.finish();
}

async function files(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".parquet")).sort();
  const read = names.map(async (name) => [name, (await readFile(join(folder, name))).toString("base64")] as const);
  return Object.fromEntries(await Promise.all(read));
}

async function failure(work: Promise<unknown>): Promise<AnalysisError> {
  const error: unknown = await work.then(
    () => "no error",
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(AnalysisError);
  return error as AnalysisError;
}

describe("a disk", () => {
  it("that is full stops a run with one error; with more room it goes on", async (context) => {
    if (disk === undefined) return context.skip();
    const folder = join(disk, "run");
    const error = await failure(write(folder));
    expect([error.code, error.message]).toEqual([
      "store/unwritable",
      expect.stringContaining("no space left on the device") as string,
    ]);
    // What is there is right; nothing is half there.
    const there = await files(folder);
    expect(Object.keys(there).length).toBeGreaterThan(3);
    for (const [name, content] of Object.entries(there)) expect(content).toBe(whole[name]);
    await (await AnalysisStore.open(folder, { partial: true })).verify();
    expect((await readdir(folder, { recursive: true })).filter((name) => /\.(tmp|lock)/.test(name))).toEqual([]);
    expect((await failure(write(folder))).code).toBe("store/unwritable");
    expect(mount("-o", "remount,size=8m", disk)).toBe(true);
    await write(folder);
    expect(await files(folder)).toEqual(whole);
  });

  it("that is read-only is refused at once; what is on it can be read and pushed elsewhere", async (context) => {
    if (disk === undefined) return context.skip();
    mount("-o", "remount,size=8m", disk);
    const folder = join(disk, "read");
    await cp(join(base, "whole"), folder, { recursive: true });
    expect(mount("-o", "remount,ro", disk)).toBe(true);
    try {
      for (const path of [folder, join(disk, "new")]) {
        const { code, message } = await failure(StoreWriter.create(path, storeConfig, storeOptions));
        expect([code, message]).toEqual(["store/unwritable", expect.stringContaining("read-only") as string]);
      }
      const store = await AnalysisStore.open(folder);
      await store.pushTo(join(base, "pushed"));
      expect(await files(join(base, "pushed"))).toEqual(whole);
      expect((await failure(store.pushTo(join(disk, "pushed")))).code).toBe("store/unwritable");
    } finally {
      mount("-o", "remount,rw", disk);
    }
  });
});

it("a path that is taken stops a run; once it is free, the run goes on", async () => {
  const folder = join(base, "taken");
  const blocked = join(folder, "logit_diffs_sae", "examples-00001.parquet");
  await mkdir(join(blocked, "in the way"), { recursive: true });
  await mkdir(join(folder, "own"), { recursive: true });
  await cp(join(base, "whole", "manifest.json"), join(folder, "manifest.json"));
  await writeFile(join(folder, "own", "examples-00000.parquet.tmp"), "left over");
  const error = await failure(write(folder));
  expect([error.code, error.message]).toEqual(["store/unwritable", expect.stringContaining(blocked) as string]);
  await rm(blocked, { recursive: true });
  await write(folder);
  expect(await files(folder)).toEqual(whole);
  expect(await readdir(join(folder, "own"))).not.toContain("examples-00000.parquet.tmp");
});
