/** `interpretune cache`: what lies there, whether it is whole, what may go. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { hubFile, hubSnapshot } from "../src/formats/index.ts";
import { cli, document } from "./support/cli.ts";
import { hubFixture, laidOut, newFolder, noise, type HubFixture } from "./support/hubFixture.ts";

const model = { type: "model", repo: "owner/name" } as const;
const old = new Date(Date.now() - 2 * 3_600_000);

/** A cache with two commits of a model and one of a data set. */
async function filled(): Promise<HubFixture & { first: string; second: string; repo: string }> {
  const fixture = await hubFixture();
  const { hub, options, cacheDir } = fixture;
  const shared = { "model.safetensors": noise(5_000_000) };
  const first = hub.add({ id: "owner/name", files: { ...shared, "config.json": "{}" } });
  await hubSnapshot(model, options);
  const second = hub.add({ id: "owner/name", files: { ...shared, "config.json": '{"n": 2}' }, refs: ["main", "v2"] });
  await hubSnapshot(model, options);
  await hubFile({ ...model, revision: "v2" }, "config.json", options);
  hub.add({ id: "aps/super_glue", type: "dataset", files: { "rte/train.parquet": noise(1000) } });
  await hubSnapshot({ type: "dataset", repo: "aps/super_glue" }, options);
  return { ...fixture, first, second, repo: join(cacheDir, "models--owner--name") };
}

test("list says what is there", async () => {
  const { cacheDir, first, second } = await filled();
  expect(await document(["cache", "--cache-dir", cacheDir])).toMatchObject({
    size: 5_001_010,
    repositories: expect.arrayContaining([
      expect.objectContaining({ type: "dataset", repo: "aps/super_glue", size: 1000 }),
      expect.objectContaining({
        repo: "owner/name",
        size: 5_000_010, // the file that both commits have lies there once
        revisions: expect.arrayContaining([
          { commit: first, refs: [], files: 2, size: 5_000_002 },
          { commit: second, refs: expect.arrayContaining(["main", "v2"]) as string[], files: 2, size: 5_000_008 },
        ]) as unknown,
      }),
    ]) as unknown,
  });
  const { stdout } = await cli(["cache", "list", "--cache-dir", cacheDir]);
  expect(stdout).toContain("datasets/aps/super_glue");
  expect(stdout).toContain(second.slice(0, 7));
  expect(stdout).toContain(`2 repositories, 5.00 MB in ${cacheDir}`);
  expect((await cli(["cache", "--repo", "owner/name", "--cache-dir", cacheDir])).stdout).toContain("1 repository");
  expect((await cli(["cache", "list", "--cache-dir", newFolder()])).stdout).toContain("0 repositories");
  expect(await cli(["cache", "clear", "--cache-dir", cacheDir])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("there is list, verify and prune") as string,
  });
});

test("verify finds what is damaged, and removes it for the next download", async () => {
  const { cacheDir, repo, options } = await filled();
  const whole = await cli(["cache", "verify", "--cache-dir", cacheDir]);
  expect(whole).toMatchObject({ code: 0, stdout: expect.stringContaining("4 files, 5.00 MB: all are") as string });
  const blobs = readdirSync(join(repo, "blobs"));
  for (const blob of [blobs.find((name) => name.length === 40)!, blobs.find((name) => name.length === 64)!]) {
    const bytes = readFileSync(join(repo, "blobs", blob));
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(join(repo, "blobs", blob), bytes);
  }
  const { code, stdout, stderr } = await cli(["cache", "verify", "--cache-dir", cacheDir]);
  expect(code).toBe(1);
  expect(stdout.match(/is not what its name says/g)).toHaveLength(2);
  expect(stderr).toContain("2 of 4 files in the cache are damaged");
  expect((await cli(["cache", "verify", "--repo", "datasets/aps/super_glue", "--cache-dir", cacheDir])).code).toBe(0);
  expect((await cli(["cache", "verify", "--yes", "--cache-dir", cacheDir])).code).toBe(0);
  expect((await cli(["cache", "verify", "--cache-dir", cacheDir])).stdout).toContain("leads to no file");
  const path = await hubFile(model, "model.safetensors", options);
  expect(noise(5_000_000).equals(readFileSync(path))).toBe(true);
});

test("prune shows what it removes, then removes it, and nothing that is needed or on its way", async () => {
  const { cacheDir, repo, options } = await filled();
  const needed = laidOut(cacheDir);
  const put = (path: string, time = old): void => {
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, "x".repeat(100));
    utimesSync(path, time, time);
  };
  const name = (digit: string): string => digit.repeat(64);
  const left = [
    join(repo, "blobs", name("a")),
    join(repo, "blobs", `${name("b")}.interpretune.incomplete`),
    join(repo, "blobs", `${name("c")}.1234abcd.incomplete`),
    join(repo, "refs", "main.0000.tmp"),
  ];
  for (const path of left) put(path);
  const dangling = join(repo, "snapshots", "0".repeat(40), "x");
  mkdirSync(join(dangling, ".."), { recursive: true });
  symlinkSync("../../blobs/gone", dangling);
  const kept = [
    join(repo, "blobs", name("d")), // came just now: its link may follow
    join(repo, "blobs", `${name("e")}.1234abcd.incomplete`), // Python may be at it
    join(repo, "blobs", `${name("f")}.interpretune.incomplete`), // another process is at it
  ];
  for (const path of kept) put(path, new Date());
  const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const stat = existsSync("/proc") ? readFileSync(`/proc/${other.pid}/stat`, "utf8") : "";
  const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  const lock = join(cacheDir, ".locks/models--owner--name", `${name("f")}.interpretune.lock`);
  writeFileSync(lock, JSON.stringify({ pid: other.pid, host: hostname(), started }));

  const all = laidOut(cacheDir);
  const shown = await cli(["cache", "prune", "--cache-dir", cacheDir]);
  for (const path of [...left, dangling]) expect(shown.stdout).toContain(path);
  for (const path of kept) expect(shown.stdout).not.toContain(path);
  expect(shown.stdout).toContain("400 B would be free; --yes removes them");
  expect(laidOut(cacheDir)).toEqual(all);
  expect((await cli(["cache", "prune", "--yes", "--cache-dir", cacheDir])).stdout).toContain("removed 400 B");
  for (const path of kept) expect(existsSync(path)).toBe(true);
  const rest = laidOut(cacheDir).filter((line) => !/[def]{64}/.test(line));
  expect(rest).toEqual(needed);
  other.kill();

  const repoFlag = ["--repo", "owner/name", "--cache-dir", cacheDir];
  expect((await cli(["cache", "prune", ...repoFlag])).stdout).toContain("the whole repository");
  expect(existsSync(repo)).toBe(true);
  await cli(["cache", "prune", "--yes", ...repoFlag]);
  expect(existsSync(repo)).toBe(false);
  expect(await cli(["cache", "prune", ...repoFlag])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("the cache has no such repository") as string,
  });
  expect((await cli(["cache", "prune", "--repo", "../x", "--cache-dir", cacheDir])).code).toBe(1);
  expect((await hubSnapshot({ type: "dataset", repo: "aps/super_glue" }, { ...options, offline: true })).files).toEqual(
    ["rte/train.parquet"],
  );
});

test("what finished before a download was stopped is needed", async () => {
  const { hub, options, cacheDir } = await hubFixture();
  hub.add({ id: "owner/name", files: { "a.bin": noise(2000, 1), "b.bin": noise(1000, 2) } });
  hub.fault = ({ path, server }) => (path.endsWith("b.bin") && server === "cdn" ? { stallAfter: 10 } : undefined);
  const stop = new AbortController();
  const onProgress = ({ filesDone }: { filesDone: number }): void => {
    if (filesDone === 1) stop.abort(new Error("enough"));
  };
  await expect(hubSnapshot(model, { ...options, onProgress, signal: stop.signal })).rejects.toThrow();
  for (const name of readdirSync(join(cacheDir, "models--owner--name/blobs")))
    utimesSync(join(cacheDir, "models--owner--name/blobs", name), old, old);
  const { items } = (await document(["cache", "prune", "--cache-dir", cacheDir])) as { items: { reason: string }[] };
  expect(items.map(({ reason }) => reason).filter((reason) => reason === "no revision needs it")).toEqual([]);
});
