/** @file Stores that are merged, asked in SQL, laid out by batches, pushed and pulled; where they come from. */
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetReadObjects } from "hyparquet";
import { parse } from "yaml";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AnalysisError } from "../errors.ts";
import { exportBatches } from "./batchLayout.ts";
import type { AnalysisEntry } from "../tables/entry.ts";
import { mergeStores } from "./merge.ts";
import { analysisNames, type AnalysisName, type LatentRow } from "../tables/four.ts";
import { AnalysisStore } from "./store.ts";
import { StoreWriter, type StoreOptions } from "./writer.ts";
import { failure } from "../../../test/support/failure.ts";
import { ablationRows, examplesOf, latentsOf, type Ablated } from "../../../test/support/tableRows.ts";
import { shards } from "../../../test/support/shards.ts";

const narrow = "blocks.9.attn.hook_z.hook_sae_acts_post";
const wide = "blocks.5.attn.hook_z.hook_sae_acts_post";
const hooks = [
  { name: narrow, width: 3 },
  { name: wide, width: 5 },
];
const mine: AnalysisEntry = {
  name: "mine",
  op: "my_op",
  latents: false,
  columns: {
    score: { per: "example", type: "float32", description: "a number" },
    words: { per: "example", type: "string", list: true, description: "texts" },
    note: { per: "batch", type: "string", description: "a text" },
  },
};

/** Batches of 2, 2 and 1, a shard each. Nothing is active in the second; nothing at the narrow hook in the third. */
const diffs = [1, 2, -1, -2, 4];
const examples = examplesOf(diffs, (example) => ({
  ...{ answer_indices: 2, prompts: `p${example}`, tokens: [1, example] },
}));
const active: Ablated[] = [
  [0, narrow, 2, 0.5, 0.75],
  [0, wide, 4, 2, -3],
  [1, narrow, 2, 1.5, 2.5],
  [4, wide, 4, 4, 3],
];

const latents = (shard: number, analysis: AnalysisName): LatentRow[] =>
  latentsOf(
    analysis,
    ablationRows(active, diffs).filter(({ example }) => example >> 1 === shard),
  );

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "store-sharing-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const config = { model: "m", positions: "tlLegacy", data: { split: "test" } };
const options: StoreOptions = { analyses: [...analysisNames, mine], hooks, shards: 3 };

async function fill(name: string, more: Partial<StoreOptions> = {}, own: object = config): Promise<AnalysisStore> {
  const path = join(folder, name);
  const writer = await StoreWriter.create(path, { ...own }, { ...options, ...more });
  for (const { shard, analyses } of writer.missing())
    for (const analysis of analyses) {
      const rows = examples.filter(({ batch }) => batch === shard);
      if (analysis === "mine" || analysis === "more")
        await writer.write(shard, analysis, {
          examples: rows.map(({ example, batch }) => ({
            example,
            batch,
            score: example / 2,
            words: ["é", `${example}`],
          })),
          batches: [{ batch: shard, note: `batch ${shard}` }],
        });
      else await writer.write(shard, analysis, { examples: rows, latents: latents(shard, analysis as AnalysisName) });
    }
  await writer.finish({ chains: { mine: ["a.b", "c"] }, backend: "test", interpretune: "0.0.0" });
  return AnalysisStore.open(path);
}

describe("parts of a run", () => {
  it("make the whole that one machine writes", async () => {
    await fill("whole");
    const parts = await Promise.all([0, 1].map((index) => fill(`part${index}`, { part: { index, of: 2 } })));
    expect((await failure(AnalysisError, parts[1]!.load("mine"))).code).toBe("store/incomplete");
    const merged = await mergeStores(
      parts.map((part) => part.folder),
      join(folder, "merged"),
    );
    expect(await shards(merged.folder)).toEqual(await shards(join(folder, "whole")));
    expect((await merged.load("logit_diffs_sae")).examples.map((row) => row.example)).toEqual([0, 1, 2, 3, 4]);
    expect(merged.manifest.runs).toHaveLength(2);
    const ids = parts.map(({ manifest }) => manifest.identity.store_id);
    expect(merged.manifest.provenance).toEqual({ merged_from: ids });
    expect(ids).not.toContain(merged.manifest.identity.store_id);
    // A part that is still missing can be computed in place.
    const half = await mergeStores([parts[0]!.folder], join(folder, "half"));
    expect((await failure(AnalysisError, half.verify())).code).toBe("store/incomplete");
    await fill("half", { resume: true });
    expect(await shards(half.folder)).toEqual(await shards(join(folder, "whole")));
  });

  it("that overlap, differ or are damaged are refused before anything is written", async () => {
    const [a, b] = [await fill("a", { part: { index: 0, of: 2 } }), await fill("b", { part: { index: 1, of: 2 } })];
    const out = join(folder, "out");
    const refused = async (folders: string[]): Promise<string> => {
      const { code } = await failure(AnalysisError, mergeStores(folders, out));
      expect(await readdir(out).catch(() => [])).toEqual([]);
      return code;
    };
    const whole = await fill("whole");
    expect(await refused([a.folder, whole.folder])).toBe("store/overlap");
    expect(await refused([a.folder, (await fill("c", {}, { ...config, model: "n" })).folder])).toBe(
      "store/other-config",
    );
    const other = { ...mine, op: "other_op" };
    const renamed = await fill("d", { analyses: [other], part: { index: 1, of: 2 } });
    expect(await refused([a.folder, renamed.folder])).toBe("store/other-analysis");
    expect(await refused([])).toBe("store/merge");
    await truncate(join(b.folder, "mine", "examples-00001.parquet"), 50);
    expect(await refused([a.folder, b.folder])).toBe("store/corrupt");
    expect((await failure(AnalysisError, mergeStores([a.folder], whole.folder))).code).toBe("store/not-empty");
  });
});

describe("the published layout", () => {
  it("has a row for each batch, published columns and shapes, and no row less where nothing is alive", async () => {
    const store = await fill("store");
    const out = join(folder, "batches");
    const written = await exportBatches(store, out);
    expect(written).toHaveLength(3 * 5);
    const read = async (name: string): Promise<Record<string, unknown>[]> => {
      const rows: Record<string, unknown>[] = [];
      for (const path of written.filter((each) => each.startsWith(`${name}/`))) {
        const bytes = await readFile(join(out, path));
        const file = new Uint8Array(bytes).buffer;
        rows.push(...(await parquetReadObjects({ file })));
      }
      return rows;
    };
    const [first, second, third] = await read("logit_diffs_attr_ablation");
    expect(first).toMatchObject({
      label_ids: [7n, 7n],
      answer_indices: [2n, 2n],
      prompts: ["p0", "p1"],
      tokens: [
        [1n, 0n],
        [1n, 1n],
      ],
      alive_latents: { [narrow]: [2n], [wide]: [4n] },
      // Masked, as published: latent 4 leaves example 0 wrong and is inactive in example 1.
      logit_diffs: {
        [narrow]: { latents: [2n], per_latent: [[0.75, 2.5]] },
        [wide]: { latents: [4n], per_latent: [[2]] },
      },
      preds: { [narrow]: { latents: [2n], per_latent: [[1n, 1n]] }, [wide]: { latents: [4n], per_latent: [[0n, 1n]] } },
      loss: { [narrow]: { latents: [2n], per_latent: [10] }, [wide]: { latents: [4n], per_latent: [6] } },
      attribution_values: {
        [narrow]: [
          [0, 0, 0.25],
          [0, 0, -0.5],
        ],
        [wide]: [
          [0, 0, 0, 0, 0],
          [0, 0, 0, 0, 0],
        ],
      },
    });
    expect(first).not.toHaveProperty("answer_logits");
    expect(second).toMatchObject({
      alive_latents: { [narrow]: [], [wide]: [] },
      loss: { [narrow]: { latents: [], per_latent: [] }, [wide]: { latents: [], per_latent: [] } },
    });
    expect(third).toMatchObject({
      orig_labels: [1n],
      attribution_values: { [narrow]: [[0, 0, 0]], [wide]: [[0, 0, 0, 0, 1]] },
    });
    const sae = await read("logit_diffs_sae");
    expect(sae[0]).toMatchObject({
      loss: 1.5,
      logit_diffs: [1, 2],
      preds: [1n, 1n],
      answer_logits: [[[0, 1]], [[0, 2]]],
      correct_activations: {
        [narrow]: [
          [0, 0, 0.5],
          [0, 0, 1.5],
        ],
        [wide]: [
          [0, 0, 0, 0, 2],
          [0, 0, 0, 0, 0],
        ],
      },
    });
    expect(sae[1]).toMatchObject({ logit_diffs: [-1, -2], correct_activations: { [narrow]: [], [wide]: [] } });
    expect(await read("mine")).toEqual([
      {
        score: [0, 0.5],
        words: [
          ["é", "0"],
          ["é", "1"],
        ],
        note: "batch 0",
      },
      {
        score: [1, 1.5],
        words: [
          ["é", "2"],
          ["é", "3"],
        ],
        note: "batch 1",
      },
      { score: [2], words: [["é", "4"]], note: "batch 2" },
    ]);
  });
});

describe("a store as a data set folder", () => {
  it("keeps its identity, its tables and a card that the hub reads", async () => {
    const store = await fill("store");
    const out = join(folder, "hub");
    await store.pushTo(out, { title: "RTE", license: "mit" });
    const pulled = await AnalysisStore.openPulled(out);
    expect(pulled.manifest).toEqual(store.manifest);
    expect(await shards(out)).toEqual(await shards(store.folder));
    const artifact = JSON.parse(await readFile(join(out, "it_artifact.json"), "utf8")) as Record<string, unknown>;
    expect(artifact).toMatchObject({
      schema: 1,
      identity: store.manifest.identity,
      provenance: { interpretune_version: "0.0.0", op_collections: [] },
      interpretune: { analysis_backend: "test", config_hash: store.manifest.config_hash },
    });
    expect((artifact["artifacts"] as object[])[4]).toEqual({
      ...{ name: "mine", split: "test", num_rows: 5, interchange: "parquet" },
      columns: ["example", "batch", "score", "words"],
    });
    const readme = await readFile(join(out, "README.md"), "utf8");
    const [, front] = /^---\n([\s\S]*?)\n---\n# RTE\n/.exec(readme)!;
    expect(parse(front!)).toMatchObject({
      license: "mit",
      configs: expect.arrayContaining([
        { config_name: "logit_diffs_sae.examples", data_files: "logit_diffs_sae/examples-*.parquet" },
        { config_name: "mine.batches", data_files: "mine/batches-*.parquet" },
      ]) as unknown,
    });
    expect(readme).toContain("| `mine` | 5 | a.b → c |");
    // Pushed again with more in it, it is still the same store.
    const grown = await fill("store", { analyses: [{ ...mine, name: "more" }], resume: true });
    await grown.pushTo(out);
    expect((await AnalysisStore.openPulled(out)).names).toEqual([...store.names, "more"]);
  });

  it("is refused when it is another's, or changed, or lacks its record", async () => {
    const store = await fill("store");
    const other = await fill("other");
    const out = join(folder, "hub");
    await store.pushTo(out);
    await store.pushTo(out);
    expect((await failure(AnalysisError, other.pushTo(out))).code).toBe("store/other-store");
    await writeFile(join(folder, "thesis.tex"), "x");
    expect((await failure(AnalysisError, store.pushTo(folder))).code).toBe("store/not-empty");
    const path = join(out, "it_artifact.json");
    const text = await readFile(path, "utf8");
    const changes: [string, RegExp][] = [
      [text.replace(/"content_fingerprint": "./, '"content_fingerprint": "?'), /changed since/],
      [text.replace(/"store_id": "./, '"store_id": "?'), /the record of/],
      [text.replace('"schema": 1', '"schema": 2'), /schema/],
      [text.slice(0, 50), /not JSON/],
    ];
    for (const [changed, message] of changes) {
      await writeFile(path, changed);
      const error = await failure(AnalysisError, AnalysisStore.openPulled(out));
      expect([error.code, message.test(error.message)]).toEqual(["store/artifact", true]);
    }
    await rm(path);
    expect((await failure(AnalysisError, AnalysisStore.openPulled(out))).message).toContain("ENOENT");
    const part = await fill("part", { part: { index: 0, of: 2 } });
    expect((await failure(AnalysisError, part.pushTo(join(folder, "new")))).code).toBe("store/incomplete");
  });
});

it("says where it comes from", async () => {
  const store = await fill("store");
  const { analyses, positions, versions, config_hash } = store.provenance;
  expect([positions, config_hash]).toEqual(["tlLegacy", store.manifest.config_hash]);
  expect(versions).toMatchObject({ backend: "test", interpretune: "0.0.0" });
  expect(analyses.at(-1)).toEqual({
    ...{ name: "mine", op: "my_op", chain: ["a.b", "c"], hash: store.hashOf("mine"), config: {}, reused: null },
  });
  const text = store.describe();
  for (const part of ["mine = a.b.c", "positions tlLegacy", `${wide} (5 latents)`, store.manifest.identity.store_id])
    expect(text).toContain(part);
});

function installed(name: string): boolean {
  try {
    createRequire(import.meta.url).resolve(name);
    return true;
  } catch {
    return false;
  }
}
const duckDb = installed("@duckdb/node-api");
if (!duckDb) console.warn("SQL is not tested: npm i --no-save @duckdb/node-api");

describe("SQL", () => {
  it.skipIf(!duckDb)("sees a table for each of an analysis, and those of all analyses", async () => {
    const store = await fill("store");
    const question = `select hook, latent, sum(attribution_values) as effect, count(*) as n
      from logit_diffs_attr_ablation.latents group by all order by effect`;
    expect(await store.sql(question)).toEqual([
      { hook: narrow, latent: 2, effect: -0.25, n: 2 },
      { hook: wide, latent: 4, effect: 5, n: 2 },
    ]);
    expect(
      await store.sql("select words, note from mine.examples join mine.batches using (batch) where example = 4"),
    ).toEqual([{ words: ["é", "4"], note: "batch 2" }]);
    const counts = await store.sql("select analysis, count(*) as n from examples group by all order by all");
    expect(counts).toEqual([...analysisNames, "mine"].sort().map((analysis) => ({ analysis, n: 5 })));
    expect((await failure(AnalysisError, store.sql("select nothing from mine.examples"))).code).toBe("store/sql");
    expect((await failure(AnalysisError, store.sql("select * from read_text('/etc/hostname')"))).code).toBe(
      "store/sql",
    );
  });

  it.skipIf(duckDb)("says how to install what answers it", async () => {
    const error = await failure(AnalysisError, (await fill("store")).sql("select 1"));
    expect(error).toMatchObject({ code: "store/no-duckdb", hint: "npm install @duckdb/node-api" });
  });
});
