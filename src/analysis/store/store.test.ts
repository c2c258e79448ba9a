import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AnalysisError } from "../errors.ts";
import { jsonHash, type JsonObject } from "../../formats/canonicalJson.ts";
import { exportCsv, exportJson } from "./export.ts";
import { analysisNames, analysisResult, type ExampleRow, type LatentRow } from "../tables/four.ts";
import { AnalysisStore } from "./store.ts";
import { StoreWriter, type StoreOptions } from "./writer.ts";
import { failure } from "../../../test/support/failure.ts";
import { shards } from "../../../test/support/shards.ts";

const hooks = [
  { name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 16 },
  { name: "blocks.5.attn.hook_z.hook_sae_acts_post", width: 40 },
];
const config = { model: "m", batch_size: 2, saes: ["a", "b"] };
const options: StoreOptions = { analyses: analysisNames, hooks, shards: 2 };

/** Three examples in two batches: the last one is smaller. */
function examples(shard: number): ExampleRow[] {
  return (shard === 0 ? [0, 1] : [2]).map((example) => ({
    example,
    batch: shard,
    label_ids: 3,
    orig_labels: 1,
    answer_indices: -1,
    loss: 1.5 + example,
    logit_diffs: example - 0.5,
    preds: example > 0 ? 1 : 0,
    answer_logits: [0.5, example],
    prompts: `say "${example}",\nplease é 日本 🙂`,
    tokens: [example, 7],
  }));
}

/** In the second batch the first hook has no active latent. */
function latents(shard: number, analysis: string): LatentRow[] {
  if (analysis === "logit_diffs_base") return [];
  const rows =
    shard === 0
      ? [
          [0, 0, 3],
          [0, 1, 39],
          [1, 0, 3],
          [1, 0, 5],
        ]
      : [[2, 1, 0]];
  return rows.map(([example, hook, latent]): LatentRow => ({
    example: example!,
    hook: hooks[hook!]!.name,
    latent: latent!,
    activation: 0.25 + latent!,
    ...(analysis !== "logit_diffs_sae" && { attribution_values: latent! === 5 ? -0 : -latent! / 8 }),
    ...(analysis === "logit_diffs_attr_ablation" && { ablated_logit_diff: 0.5, ablated_loss: NaN, ablated_pred: 0 }),
  }));
}

let folder: string;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), "store-")), "runs", "rte");
});
afterEach(() => rm(join(folder, "..", ".."), { recursive: true, force: true }));

async function fill(more: Partial<StoreOptions> = {}, stopAfter = Infinity): Promise<void> {
  const writer = await StoreWriter.create(folder, config, { ...options, ...more });
  let count = 0;
  for (const { shard, analyses } of writer.missing())
    for (const name of analyses) {
      if (count++ >= stopAfter) return writer.close();
      await writer.write(shard, name, { examples: examples(shard), latents: latents(shard, name) });
    }
  await writer.finish({ threads: 2 });
}

describe("a store", () => {
  it("gives back what was written, bit for bit", async () => {
    await fill();
    const store = await AnalysisStore.open(folder);
    expect(store.analyses).toEqual(analysisNames);
    for (const name of analysisNames) {
      const all = [...examples(0), ...examples(1)];
      const written = analysisResult(name, hooks, all, [...latents(0, name), ...latents(1, name)]);
      const read = await store.load(name);
      expect(read).toEqual(written);
      if (read.latents.attribution_values) expect(Object.is(read.latents.attribution_values[3], -0)).toBe(true);
    }
    expect(store.manifest.runs[0]).toMatchObject({ threads: 2 });
    expect(await readdir(folder)).toEqual([...analysisNames, "manifest.json"].sort());
  });

  it("has the same bytes whatever the order of rows, columns and analyses", async () => {
    await fill();
    const first = await shards(folder);
    expect(Object.keys(first).length).toBe(16);
    await rm(folder, { recursive: true });
    const writer = await StoreWriter.create(folder, { saes: ["a", "b"], batch_size: 2, model: "m" }, options);
    for (const name of [...analysisNames].reverse())
      for (const shard of [1, 0]) {
        const rows = latents(shard, name).reverse();
        await writer.write(shard, name, { examples: examples(shard), latents: rows });
      }
    await writer.finish();
    expect(await shards(folder)).toEqual(first);
  });

  it("keeps any finite or infinite single precision number", async () => {
    const floats = fc.array(fc.float({ noDefaultInfinity: false }), { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(floats, async (values) => {
        const own = join(folder, "property");
        const writer = await StoreWriter.create(own, {}, { analyses: ["logit_diffs_attr_grad"], hooks, shards: 1 });
        const rows = values.map((value, latent): LatentRow => ({
          example: 0,
          hook: hooks[1]!.name,
          latent,
          activation: 1,
          attribution_values: value,
        }));
        await writer.write(0, "logit_diffs_attr_grad", { examples: examples(0), latents: rows });
        await writer.finish();
        const { latents: read } = await (await AnalysisStore.open(own)).load("logit_diffs_attr_grad");
        expect([...read.attribution_values!]).toEqual(values);
        await rm(own, { recursive: true });
      }),
      { numRuns: 20 },
    );
  });

  it("says what is missing until it is complete", async () => {
    await fill({}, 5);
    const store = await AnalysisStore.open(folder);
    expect((await failure(AnalysisError, store.load("logit_diffs_sae"))).message).toContain(
      "shard 2 of 2 of logit_diffs_sae",
    );
    const partial = await AnalysisStore.open(folder, { partial: true });
    expect((await partial.examples("logit_diffs_sae")).map((row) => row.example)).toEqual([0, 1]);
    const writer = await StoreWriter.create(folder, config, { ...options, resume: true });
    expect(writer.missing()).toEqual([{ shard: 1, analyses: analysisNames.slice(1) }]);
    expect((await failure(AnalysisError, writer.finish())).code).toBe("store/incomplete");
    await fill({ resume: true });
    expect((await store.load("logit_diffs_sae")).examples.length).toBe(3);
  });

  it("is refused without resume, also when complete", async () => {
    await fill();
    const { code, message } = await failure(AnalysisError, StoreWriter.create(folder, config, options));
    expect([code, message]).toEqual(["store/exists", expect.stringContaining("--resume") as string]);
  });

  it("takes further analyses of the same config", async () => {
    await fill({ analyses: ["logit_diffs_sae"] });
    await fill({ analyses: ["logit_diffs_base"], resume: true });
    const store = await AnalysisStore.open(folder);
    expect(store.analyses).toEqual(["logit_diffs_base", "logit_diffs_sae"]);
    expect((await store.load("logit_diffs_sae")).latents.length).toBe(5);
  });

  it("refuses another config and says what differs", async () => {
    await fill({}, 1);
    const other = (c: JsonObject, o: Partial<StoreOptions> = {}): Promise<{ code: string; message: string }> =>
      failure(AnalysisError, StoreWriter.create(folder, c, { ...options, resume: true, ...o }));
    const changed = await other({ ...config, batch_size: 4, saes: ["a"], seed: 1 });
    expect(changed.code).toBe("store/other-config");
    expect(changed.message).toContain("batch_size: 2 there, 4 here");
    expect(changed.message).toContain('saes: ["a","b"] there, ["a"] here');
    expect(changed.message).toContain("seed: nothing there, 1 here");
    expect((await other(config, { shards: 3 })).message).toContain("shards: 2 there, 3 here");
    expect((await other(config, { hooks: [hooks[0]!] })).message).toContain("hooks");
    await fill({ resume: true });
  });

  it("refuses a folder with other things in it, and a path that cannot be a folder", async () => {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "thesis.tex"), "x");
    expect((await failure(AnalysisError, StoreWriter.create(folder, config, options))).message).toContain("thesis.tex");
    expect(await readdir(folder)).toEqual(["thesis.tex"]);
    const below = await failure(AnalysisError, StoreWriter.create(join(folder, "thesis.tex", "run"), config, options));
    expect(below.code).toBe("store/unwritable");
    expect((await failure(AnalysisError, StoreWriter.create(join(folder, "thesis.tex"), config, options))).code).toBe(
      "store/unwritable",
    );
    expect((await failure(AnalysisError, StoreWriter.create("/proc/no-such-folder", config, options))).code).toBe(
      "store/unwritable",
    );
  });

  it("makes damaged, truncated, swapped and foreign shards again", async () => {
    await fill();
    const before = await shards(folder);
    const path = (analysis: string, table: string, shard: number): string =>
      join(folder, analysis, `${table}-0000${shard}.parquet`);
    const damages: (() => Promise<void>)[] = [
      () => truncate(path("logit_diffs_sae", "latents", 0), 100),
      () => writeFile(path("logit_diffs_sae", "examples", 0), ""),
      async () =>
        writeFile(path("logit_diffs_base", "examples", 0), await readFile(path("logit_diffs_base", "examples", 1))),
      async () =>
        writeFile(path("logit_diffs_base", "examples", 1), await readFile(path("logit_diffs_sae", "examples", 1))),
      () => rm(path("logit_diffs_attr_grad", "latents", 1)),
    ];
    for (const damage of damages) {
      await damage();
      const store = await AnalysisStore.open(folder);
      const codes = await Promise.all(
        analysisNames.map((name) =>
          store.load(name).then(
            () => "",
            (e: AnalysisError) => e.code,
          ),
        ),
      );
      expect(codes.filter(Boolean)).toEqual([expect.stringMatching(/corrupt|incomplete/)]);
      await fill({ resume: true });
      expect(await shards(folder)).toEqual(before);
    }
  });

  it("notices every flipped bit", async () => {
    await fill();
    const path = join(folder, "logit_diffs_attr_ablation", "latents-00000.parquet");
    const bytes = await readFile(path);
    const store = await AnalysisStore.open(folder);
    const places = fc.tuple(fc.nat(bytes.length - 1), fc.nat(7));
    await fc.assert(
      fc.asyncProperty(places, async ([at, bit]) => {
        const damaged = Uint8Array.from(bytes);
        damaged[at]! ^= 1 << bit;
        await writeFile(path, damaged);
        expect((await failure(AnalysisError, store.load("logit_diffs_attr_ablation"))).code).toBe("store/corrupt");
      }),
      { numRuns: 200 },
    );
  });

  it("does not believe a manifest whose config was changed, nor one that is not JSON", async () => {
    await fill();
    const path = join(folder, "manifest.json");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace('"batch_size": 2', '"batch_size": 4'));
    expect((await failure(AnalysisError, AnalysisStore.open(folder))).code).toBe("store/manifest");
    await writeFile(path, text.slice(0, 40));
    expect((await failure(AnalysisError, AnalysisStore.open(folder))).code).toBe("store/manifest");
    await rm(path);
    expect((await failure(AnalysisError, AnalysisStore.open(folder))).code).toBe("store/none");
  });

  it("has one writer at a time", async () => {
    const writer = await StoreWriter.create(folder, config, options);
    expect((await failure(AnalysisError, StoreWriter.create(folder, config, options))).code).toBe("store/locked");
    await writer.close();
    const lock = join(folder, ".lock");
    // A living process of this machine with its own start time, then one elsewhere, then dead and garbled ones.
    const stat = await readFile(`/proc/${process.ppid}/stat`, "utf8");
    const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]!;
    for (const [holder, refused] of [
      [{ pid: process.ppid, host: hostname(), started }, true],
      [{ pid: 1, host: "another-machine", started: "1" }, true],
      [{ pid: process.ppid, host: hostname(), started: "1" }, false],
      [{ pid: 2 ** 22 + 1, host: hostname(), started: "1" }, false],
      [{ pid: process.pid, host: hostname(), started: "1" }, false],
      ["garbled", false],
    ] as const) {
      await writeFile(lock, typeof holder === "string" ? holder : JSON.stringify(holder));
      const again = StoreWriter.create(folder, config, { ...options, resume: true });
      if (refused) expect((await failure(AnalysisError, again)).message).toContain(lock);
      else await (await again).close();
    }
    expect(await readdir(folder)).not.toContain(".lock");
  });

  it("writes nothing after it is closed, and only what is a table", async () => {
    const writer = await StoreWriter.create(folder, config, options);
    const write = (shard: number, name: (typeof analysisNames)[number], rows: LatentRow[]): Promise<unknown> =>
      failure(AnalysisError, writer.write(shard, name, { examples: examples(0), latents: rows }));
    const row = latents(0, "logit_diffs_sae")[0]!;
    expect(await write(2, "logit_diffs_sae", [])).toMatchObject({ code: "store/shard" });
    for (const [rows, what] of [
      [[{ ...row, activation: 0 }], "not active"],
      [[{ ...row, latent: 16 }], "outside the 16 latents"],
      [[{ ...row, hook: "blocks.9" }], "not one of the run's hooks"],
      [[{ ...row, example: 9 }], "not in examples"],
      [[row, row], "twice"],
    ] as const)
      expect((await write(0, "logit_diffs_sae", [...rows])) as Error).toHaveProperty(
        "message",
        expect.stringContaining(what),
      );
    expect(await write(0, "logit_diffs_base", [row])).toMatchObject({ code: "store/rows" });
    await writer.close();
    expect(await write(0, "logit_diffs_sae", [row])).toMatchObject({ code: "store/closed" });
    expect(await readdir(join(folder, "logit_diffs_sae"))).toEqual([]);
  });

  it("exports CSV and JSON", async () => {
    await fill({ analyses: ["logit_diffs_base", "logit_diffs_attr_ablation"] });
    const store = await AnalysisStore.open(folder);
    const text = async (pieces: AsyncIterable<string>): Promise<string> => {
      let out = "";
      for await (const piece of pieces) out += piece;
      return out;
    };
    const csv = await text(exportCsv(store, "latents"));
    expect(csv.split("\r\n").slice(0, 2)).toEqual([
      "analysis,example,hook,latent,activation,attribution_values,ablated_logit_diff,ablated_loss,ablated_pred",
      "logit_diffs_attr_ablation,0,blocks.9.attn.hook_z.hook_sae_acts_post,3,3.25,-0.375,0.5,,0",
    ]);
    expect(csv.split("\r\n").length).toBe(1 + 5 + 1);
    const rows = (await text(exportCsv(store, "examples"))).split("\r\n");
    expect(rows[0]).toBe(
      "analysis,example,batch,label_ids,orig_labels,answer_indices,loss,logit_diffs,preds,answer_logits,prompts,tokens",
    );
    expect(rows[1]).toBe('logit_diffs_base,0,0,3,1,-1,1.5,-0.5,0,"[0.5,0]","say ""0"",\nplease é 日本 🙂","[0,7]"');
    const json = JSON.parse(await text(exportJson(store))) as Record<string, { examples: object[]; latents: object[] }>;
    expect(Object.keys(json)).toEqual(["logit_diffs_base", "logit_diffs_attr_ablation"]);
    expect(json["logit_diffs_base"]!.latents).toEqual([]);
    expect(json["logit_diffs_attr_ablation"]!.latents[0]).toEqual({
      example: 0,
      hook: hooks[0]!.name,
      latent: 3,
      activation: 3.25,
      attribution_values: -0.375,
      ablated_logit_diff: 0.5,
      ablated_loss: null,
      ablated_pred: 0,
    });
  });
});

describe("config hashes", () => {
  it("do not depend on the order of keys, nor on absent values", () => {
    expect(jsonHash({ a: 1, b: [{ c: null, d: "x" }] })).toBe(
      jsonHash({ b: [{ d: "x", c: null }], a: 1, e: undefined }),
    );
    expect(jsonHash({ a: 1 })).not.toBe(jsonHash({ a: "1" }));
    expect(() => jsonHash({ a: { b: NaN } })).toThrow("config.a.b");
  });
});
