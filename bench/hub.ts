/** @file Downloads from a hub on this machine, next to plain copies of the same bytes, and the memory they take. */
import { fork } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { hubSnapshot } from "../src/formats/hub/index.ts";
import { folderFiles, hubServer } from "../test/support/hubServer.ts";
import { report } from "./lib.ts";

const count = 8;
const size = 2 ** 26;
const rounds = 5;
const repo = "bench/weights";

if (process.argv[2] !== undefined) {
  const hub = await hubServer();
  const commit = hub.add({ id: repo, files: folderFiles(process.argv[2]) });
  process.send!({ endpoint: hub.endpoint, commit });
} else await measure();

async function measure(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "interpretune-bench-hub-"));
  const source = join(folder, "source");
  await mkdir(source);
  const names = Array.from({ length: count }, (_, i) => `model-${i}.safetensors`);
  for (const name of names) await writeFile(join(source, name), randomFillSync(new Uint8Array(size)));
  const server = fork(fileURLToPath(import.meta.url), [source]);
  try {
    const [{ endpoint, commit }] = (await once(server, "message")) as [{ endpoint: string; commit: string }];
    const url = (name: string): string => `${endpoint}/${repo}/resolve/${commit}/${name}`;

    /** Each way to get the files into a folder. */
    const ways = {
      ours: (to: string) => hubSnapshot({ type: "model", repo }, { endpoint, cacheDir: to, token: "" }),
      fetched: (to: string) =>
        fourAtOnce(names, async (name) => {
          const { body } = await fetch(url(name));
          await pipeline(body!, createWriteStream(join(to, name)));
        }),
      copied: (to: string) => fourAtOnce(names, (name) => copyFile(join(source, name), join(to, name))),
    };
    const seconds: Record<keyof typeof ways, number[]> = { ours: [], fetched: [], copied: [] };
    let growth = 0;
    for (let round = 0; round < rounds; round++)
      for (const [way, run] of Object.entries(ways) as [keyof typeof ways, (typeof ways)["ours"]][]) {
        const to = join(folder, way);
        await mkdir(to);
        const before = process.memoryUsage.rss();
        let most = before;
        const watch = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 20);
        const start = performance.now();
        await run(to);
        seconds[way].push((performance.now() - start) / 1000);
        clearInterval(watch);
        if (way === "ours") growth = Math.max(growth, most - before);
        await rm(to, { recursive: true });
      }
    const median = (way: keyof typeof ways): number => seconds[way].toSorted((a, b) => a - b)[rounds >> 1]!;
    const rate = (way: keyof typeof ways): string => `${((count * size) / median(way) / 1e6).toFixed(0)} MB/s`;
    const what = `hub: ${count} files of ${size / 2 ** 20} MiB from a local server, four at once, checked`;
    for (const [way, name] of [
      ["fetched", "fetch to file, four at once"],
      ["copied", "copies on disk, four at once"],
    ] as const) {
      const ratio = median(way) / median("ours");
      const held = way === "fetched";
      report({
        row: 6,
        what,
        ours: rate("ours"),
        theirs: `${rate(way)} (${name})`,
        ratio,
        bar: held ? "≥ 0.5" : "",
        holds: held ? ratio >= 0.5 : null,
      });
    }
    report({
      row: 6,
      what: "hub: growth of the resident size meanwhile",
      ours: `${(growth / 1e6).toFixed(0)} MB`,
      theirs: `${((count * size) / 1e6).toFixed(0)} MB downloaded`,
      ratio: (count * size) / growth,
      bar: "no file in memory",
      holds: growth < size,
    });
  } finally {
    server.kill();
    await rm(folder, { recursive: true, force: true });
  }
}

async function fourAtOnce(names: readonly string[], work: (name: string) => Promise<unknown>): Promise<void> {
  const queue = [...names];
  const worker = async (): Promise<void> => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) await work(name);
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}
