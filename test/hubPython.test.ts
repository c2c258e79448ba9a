/**
 * One cache for us and for Python's huggingface_hub: the same layout, and neither downloads what the other has.
 * `PEERS_PYTHON=<python with huggingface_hub>` runs both; without it there is the layout that it gave (`HUB_GOLDEN=write`
 * with it writes that down).
 */
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { hubFile, hubSnapshot, type HubOptions, type HubRef } from "../src/formats/index.ts";
import { hubFixture, laidOut, noise, type HubFixture } from "./support/hubFixture.ts";

const golden = fileURLToPath(new URL("goldens/hub/layout.json", import.meta.url));
const script = fileURLToPath(new URL("../bench/peers/hub.py", import.meta.url));
const python = process.env["PEERS_PYTHON"];

interface Step extends HubRef {
  readonly file?: string;
}
/** What both do: snapshots and single files, of a branch and of a commit, and one file that is not there. */
const steps = (commit: string): Step[] => [
  { type: "model", repo: "owner/tiny" },
  { type: "model", repo: "owner/single", file: "sub/deep/model.safetensors" },
  { type: "model", repo: "owner/single", file: "nope.json" },
  { type: "model", repo: "owner/single", revision: "feature/x", file: "config.json" },
  { type: "model", repo: "owner/pinned", revision: commit, file: "config.json" },
  { type: "dataset", repo: "owner/rows", revision: "v1.0" },
];

async function setUp(): Promise<HubFixture & { steps: Step[] }> {
  const fixture = await hubFixture();
  const { hub } = fixture;
  const config = { "config.json": '{"model_type": "gpt2"}', "empty.txt": "", "copy.json": '{"model_type": "gpt2"}' };
  hub.add({ id: "owner/tiny", files: { ...config, "sub/deep/model.safetensors": noise(5000) } });
  const branches = ["main", "feature/x"];
  hub.add({ id: "owner/single", files: { ...config, "sub/deep/model.safetensors": noise(70_000) }, refs: branches });
  const commit = hub.add({ id: "owner/pinned", files: config });
  hub.add({ id: "owner/rows", type: "dataset", files: { "rte/validation.parquet": noise(900) }, refs: ["v1.0"] });
  return { ...fixture, steps: steps(commit) };
}

async function ours(steps: readonly Step[], options: HubOptions): Promise<string[]> {
  const places: string[] = [];
  for (const { file, ...ref } of steps) {
    const place =
      file === undefined ? hubSnapshot(ref, options).then(({ folder }) => folder) : hubFile(ref, file, options);
    places.push(await place.catch((error: { code?: string }) => (error.code === "hub/entry-not-found" ? "none" : "")));
  }
  return places;
}

async function theirs(steps: readonly Step[], { endpoint, cacheDir }: HubFixture["options"]): Promise<string[]> {
  const env = {
    ...process.env,
    HF_ENDPOINT: endpoint,
    HF_HUB_OFFLINE: "0",
    HF_HUB_DISABLE_PROGRESS_BARS: "1",
    HF_HUB_DISABLE_TELEMETRY: "1",
  };
  const args = [script, cacheDir, ...steps.map((step) => JSON.stringify(step))];
  const { stdout } = await promisify(execFile)(python!, args, { env });
  return stdout.trim().split("\n");
}

/** Python leaves its lock files where they are. */
const layout = (cacheDir: string): string[] => laidOut(cacheDir).filter((line) => !line.startsWith(".locks/"));

test("the cache looks as Python's client leaves it", async () => {
  const { steps, options, cacheDir } = await setUp();
  const places = await ours(steps, options);
  expect(layout(cacheDir)).toEqual(JSON.parse(readFileSync(golden, "utf8")));
  expect(places[2]).toBe("none");
});

describe.skipIf(python === undefined)(
  `beside Python's client${python === undefined ? " (skipped: no PEERS_PYTHON with huggingface_hub)" : ""}`,
  () => {
    test("what Python downloaded is used here", async () => {
      const { hub, steps, options, cacheDir } = await setUp();
      const places = await theirs(steps, options);
      if (process.env["HUB_GOLDEN"] === "write")
        writeFileSync(golden, `${JSON.stringify(layout(cacheDir), null, 2)}\n`);
      const before = layout(cacheDir);
      expect(hub.requests.some(({ server }) => server === "cdn")).toBe(true);
      hub.recent();
      expect(await ours(steps, options)).toEqual(places);
      expect(hub.recent().filter((line) => !line.startsWith("hub HEAD") && !line.includes("/revision/"))).toEqual([]);
      expect(layout(cacheDir)).toEqual(before);
      expect(before).toEqual(JSON.parse(readFileSync(golden, "utf8")));
      const there = await ours(steps, { ...options, offline: true });
      expect(there).toEqual(places);
      expect(hub.recent()).toEqual([]);
    });

    test("what was downloaded here is used by Python", async () => {
      const { hub, steps, options, cacheDir } = await setUp();
      const places = await ours(steps, options);
      const before = layout(cacheDir);
      hub.recent();
      expect(await theirs(steps, options)).toEqual(places);
      expect(hub.recent().filter((line) => !line.startsWith("hub HEAD") && !line.includes("/revision/"))).toEqual([]);
      expect(layout(cacheDir)).toEqual(before);
      expect(before.map((line) => join(cacheDir, line))).not.toEqual([]);
    });
  },
);
