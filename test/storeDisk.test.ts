/** @file Stores on disks that are full or read-only, and paths that are taken: one clear error, then a clean resume. */
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AnalysisError, AnalysisStore, StoreWriter } from "../src/analysis/index.ts";
import { smallDisk, type SmallDisk } from "./support/smallDisk.ts";
import { storeConfig, storeOptions, storeRows } from "./support/storeRows.ts";
import { failure } from "./support/failure.ts";
import { shards } from "./support/shards.ts";

let base: string;
let whole: Record<string, string>;
let disk: SmallDisk | undefined;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "store-disk-"));
  await write(join(base, "whole"));
  whole = await shards(join(base, "whole"));
  disk = smallDisk(join(base, "disk"), "96k");
});
afterAll(async () => {
  disk?.unmount();
  await rm(base, { recursive: true, force: true });
});

async function write(folder: string): Promise<void> {
  await using writer = await StoreWriter.create(folder, storeConfig, storeOptions);
  for (const { shard, analyses } of writer.missing())
    for (const name of analyses) await writer.write(shard, name, storeRows(shard, name));
  await writer.finish();
}

describe("a disk", () => {
  it("that is full stops a run with one error; with more room it goes on", async (context) => {
    if (disk === undefined) return context.skip();
    const folder = join(disk.path, "run");
    const error = await failure(AnalysisError, write(folder));
    expect([error.code, error.message]).toEqual([
      "store/unwritable",
      expect.stringContaining("no space left on the device") as string,
    ]);
    // What is there is right; nothing is half there.
    const there = await shards(folder);
    expect(Object.keys(there).length).toBeGreaterThan(3);
    for (const [name, content] of Object.entries(there)) expect(content).toBe(whole[name]);
    await (await AnalysisStore.open(folder, { partial: true })).verify();
    expect((await readdir(folder, { recursive: true })).filter((name) => /\.(tmp|lock)/.test(name))).toEqual([]);
    expect((await failure(AnalysisError, write(folder))).code).toBe("store/unwritable");
    disk.grow("8m");
    await write(folder);
    expect(await shards(folder)).toEqual(whole);
  });

  it("that is read-only is refused at once; what is on it can be read and pushed elsewhere", async (context) => {
    if (disk === undefined) return context.skip();
    disk.grow("8m");
    const folder = join(disk.path, "read");
    await cp(join(base, "whole"), folder, { recursive: true });
    disk.readOnly();
    try {
      for (const path of [folder, join(disk.path, "new")]) {
        const { code, message } = await failure(AnalysisError, StoreWriter.create(path, storeConfig, storeOptions));
        expect([code, message]).toEqual(["store/unwritable", expect.stringContaining("read-only") as string]);
      }
      const store = await AnalysisStore.open(folder);
      await store.pushTo(join(base, "pushed"));
      expect(await shards(join(base, "pushed"))).toEqual(whole);
      expect((await failure(AnalysisError, store.pushTo(join(disk.path, "pushed")))).code).toBe("store/unwritable");
    } finally {
      disk.writable();
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
  const error = await failure(AnalysisError, write(folder));
  expect([error.code, error.message]).toEqual(["store/unwritable", expect.stringContaining(blocked) as string]);
  await rm(blocked, { recursive: true });
  await write(folder);
  expect(await shards(folder)).toEqual(whole);
  expect(await readdir(join(folder, "own"))).not.toContain("examples-00000.parquet.tmp");
});
