/** @file Stores of ops other than the four: every column type, tables per batch, names, content addresses, parts. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AnalysisError } from "../errors.ts";
import type { AnalysisEntry, BatchRow, StoredRow } from "../tables/entry.ts";
import { analysisEntry } from "../tables/four.ts";
import type { LatentColumns } from "../tables/latents.ts";
import { exportCsv, exportJson } from "./export.ts";
import { AnalysisStore } from "./store.ts";
import { StoreWriter, type StoreOptions } from "./writer.ts";
import { failure } from "../../../test/support/failure.ts";

const hooks = [
  { name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 16 },
  { name: "blocks.5.attn.hook_z.hook_sae_acts_post", width: 40 },
];

const entry: AnalysisEntry = {
  name: "concepts",
  op: "model_fwd.my_op",
  latents: true,
  columns: {
    score: { per: "example", type: "float32", description: "a number" },
    rank: { per: "example", type: "int32", optional: true, description: "a whole number, if any" },
    right: { per: "example", type: "bool", description: "yes or no" },
    words: { per: "example", type: "string", list: true, description: "texts" },
    flags: { per: "example", type: "bool", list: true, optional: true, description: "yeses and nos, if any" },
    what: { per: "example", type: "json", description: "anything" },
    share: { per: "latent", type: "float32", description: "of a latent" },
    kind: { per: "latent", type: "int32", description: "of a latent" },
    chosen: { per: "latent", type: "bool", description: "of a latent" },
    direction: { per: "batch", type: "float32", list: true, description: "a vector" },
    label: { per: "batch", type: "string", description: "a text" },
  },
};

/** Three examples in two batches; the second batch is smaller and has nothing active at the first hook. */
const rows: readonly StoredRow[][] = [
  [
    {
      example: 0,
      batch: 0,
      score: 0.5,
      rank: 3,
      right: true,
      words: ["a", "日本"],
      flags: [true, false],
      what: { a: [1, null] },
    },
    { example: 1, batch: 0, score: -0, rank: null, right: false, words: [], flags: null, what: null },
  ],
  [{ example: 2, batch: 1, score: 1.25, rank: 7, right: true, words: ["", "x"], flags: [], what: "text" }],
];
const latents: readonly LatentColumns[] = [
  table({
    example: [0, 0, 1],
    hook: [0, 1, 1],
    latent: [3, 39, 0],
    share: [0.25, -0, 1],
    kind: [-1, 2, 3],
    chosen: [1, 0, 1],
  }),
  table({ example: [2], hook: [1], latent: [5], share: [2], kind: [0], chosen: [0] }),
];
const batchRows: readonly BatchRow[][] = [
  [{ batch: 0, direction: [0.5, -0.25], label: "A -> B" }],
  [{ batch: 1, direction: [], label: "" }],
];

function table(columns: Record<"example" | "hook" | "latent" | "share" | "kind" | "chosen", number[]>): LatentColumns {
  const { share, ...rest } = columns;
  const ints = Object.fromEntries(Object.entries(rest).map(([name, values]) => [name, Int32Array.from(values)]));
  return {
    length: share.length,
    ...(ints as Record<"example" | "hook" | "latent", Int32Array>),
    activation: Float32Array.from(share, (_, i) => i + 1),
    ...{ share: Float32Array.from(share) },
  };
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "store-general-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const options: StoreOptions = { analyses: [entry], hooks, shards: 2 };

async function fill(more: Partial<StoreOptions> = {}, path: string = folder): Promise<AnalysisStore> {
  const writer = await StoreWriter.create(path, { seed: 1 }, { ...options, ...more });
  for (const { shard, analyses } of writer.missing())
    for (const name of analyses)
      await writer.write(shard, name, { examples: rows[shard]!, latents: latents[shard], batches: batchRows[shard] });
  await writer.finish();
  return AnalysisStore.open(path);
}

describe("a store of any op", () => {
  it("gives back every type of column, lists and nulls included", async () => {
    const store = await fill();
    expect(store.names).toEqual(["concepts"]);
    expect(store.analyses).toEqual([]);
    const read = await store.load("concepts");
    expect(read).toMatchObject({ analysis: "model_fwd.my_op", name: "concepts", hooks });
    expect(read.examples).toEqual(rows.flat());
    expect(Object.is(read.examples[1]!["score"], -0)).toBe(true);
    expect(read.batches).toEqual(batchRows.flat());
    const all = (name: "latent" | "hook" | "example" | "activation"): number[] =>
      latents.flatMap((part) => [...part[name]]);
    for (const name of ["latent", "hook", "example", "activation"] as const)
      expect([...read.latents[name]]).toEqual(all(name));
    expect(read.latents).toMatchObject({
      share: Float32Array.of(0.25, -0, 1, 2),
      kind: Int32Array.of(-1, 2, 3, 0),
      chosen: Int32Array.of(1, 0, 1, 0),
    });
    expect(read.columns).toEqual(entry.columns);
    expect((await readdir(join(folder, "concepts"))).sort()).toEqual(
      ["batches", "examples", "latents"].flatMap((name) => [`${name}-00000.parquet`, `${name}-00001.parquet`]),
    );
  });

  it("has only the tables it has columns for", async () => {
    const plain: AnalysisEntry = {
      name: "plain",
      op: "score",
      latents: false,
      columns: { score: entry.columns["score"]! },
    };
    const writer = await StoreWriter.create(folder, {}, { analyses: [plain], hooks: [], shards: 1 });
    await writer.write(0, "plain", { examples: [{ example: 0, batch: 0, score: 1 }] });
    await writer.finish();
    expect(await readdir(join(folder, "plain"))).toEqual(["examples-00000.parquet"]);
    const read = await (await AnalysisStore.open(folder)).load("plain");
    expect([read.examples, read.latents.length, read.batches]).toEqual([[{ example: 0, batch: 0, score: 1 }], 0, []]);
  });

  it("refuses rows that are not what is declared", async () => {
    const writer = await StoreWriter.create(folder, {}, options);
    const good = rows[1]![0]!;
    const wrong: [Partial<StoredRow>, string][] = [
      [{ score: "1" }, "score is not float32"],
      [{ rank: 1.5 }, "rank is not int32"],
      [{ rank: 2 ** 31 }, "rank is not int32"],
      [{ right: null }, "right is not bool"],
      [{ words: "x" }, "words is not string[]"],
      [{ words: ["x", 1] }, "words is not string[]"],
      [{ what: undefined }, "what is not json"],
    ];
    for (const [change, message] of wrong)
      expect(
        (
          await failure(
            AnalysisError,
            writer.write(1, "concepts", { examples: [{ ...good, ...change }], latents: latents[1] }),
          )
        ).message,
      ).toContain(message);
    const bare = { ...latents[1]!, share: undefined };
    expect(
      (await failure(AnalysisError, writer.write(1, "concepts", { examples: [good], latents: bare }))).message,
    ).toContain("share");
    expect((await failure(AnalysisError, writer.write(1, "others", { examples: [] }))).code).toBe("store/analysis");
    expect(await readdir(join(folder, "concepts"))).toEqual([]);
    await writer.close();
  });

  it("wants names that can be folders, each once, and columns beside its own", async () => {
    const create = (...analyses: AnalysisEntry[]): Promise<AnalysisError> =>
      failure(AnalysisError, StoreWriter.create(folder, {}, { ...options, analyses }));
    for (const name of ["", "..", "a/b", "a b", "../x", ".lock", "x".repeat(121)])
      expect((await create({ ...entry, name })).code).toBe("store/name");
    expect((await create(entry, { ...entry, op: "other" })).code).toBe("store/name-twice");
    expect((await create(entry, { ...entry, name: "Concepts" })).code).toBe("store/name-twice");
    expect((await create({ ...entry, name: "manifest.json" })).code).toBe("store/name-twice");
    for (const column of ["example", "a-b", "hook"])
      expect((await create({ ...entry, columns: { [column]: entry.columns["score"]! } })).code).toBe("store/columns");
    expect(await readdir(folder)).toEqual([]);
  });

  it("never lets two analyses write to one place", async () => {
    await fill();
    const other = await failure(
      AnalysisError,
      StoreWriter.create(folder, { seed: 1 }, { ...options, resume: true, analyses: [{ ...entry, op: "other" }] }),
    );
    expect([other.code, other.message]).toEqual(["store/other-analysis", expect.stringContaining("op: ") as string]);
    const sameFolder = { ...entry, name: "CONCEPTS" };
    expect(
      (
        await failure(
          AnalysisError,
          StoreWriter.create(folder, { seed: 1 }, { ...options, resume: true, analyses: [sameFolder] }),
        )
      ).code,
    ).toBe("store/other-analysis");
    // The same one, and another one beside it, are welcome; the four keep their place in front.
    const two = await StoreWriter.create(
      folder,
      { seed: 1 },
      { ...options, resume: true, analyses: [entry, "logit_diffs_base"] },
    );
    expect(two.missing().map(({ analyses }) => analyses)).toEqual([["logit_diffs_base"], ["logit_diffs_base"]]);
    await two.close();
    expect((await AnalysisStore.open(folder)).names).toEqual(["logit_diffs_base", "concepts"]);
  });

  it("tells the same analysis by its content, whatever it is called", async () => {
    const store = await fill({
      analyses: [entry, { ...entry, name: "again" }, { ...entry, name: "other", config: { scale: 2 } }],
    });
    expect(store.hashOf("again")).toBe(store.hashOf("concepts"));
    expect(store.hashOf("other")).not.toBe(store.hashOf("concepts"));
    const elsewhere = join(folder, "concepts", "elsewhere");
    const writer = await StoreWriter.create(elsewhere, { seed: 2 }, options);
    await writer.close();
    expect((await AnalysisStore.open(elsewhere)).hashOf("concepts")).not.toBe(store.hashOf("concepts"));
  });

  it("keeps one of the four under another name, with hooks of its own", async () => {
    const own = { ...analysisEntry("logit_diffs_sae", "narrow"), hooks: [hooks[1]!] };
    const example = { example: 0, batch: 0, label_ids: 3, orig_labels: 1, answer_indices: -1, loss: 1, logit_diffs: 2 };
    const row = { ...example, preds: 1, answer_logits: [0, 2] };
    const { length, example: examples, latent, activation } = latents[1]!;
    const writer = await StoreWriter.create(folder, {}, { analyses: [own], hooks, shards: 1 });
    const active = { length, example: examples.map(() => 0), hook: Int32Array.of(0), latent, activation };
    await writer.write(0, "narrow", { examples: [row], latents: active });
    await writer.finish();
    const read = await (await AnalysisStore.open(folder)).load("narrow");
    expect(read).toMatchObject({ analysis: "logit_diffs_sae", name: "narrow", hooks: [hooks[1]], examples: [row] });
    expect(read.latents).toEqual(active);
  });

  it("exports every table", async () => {
    const store = await fill();
    const text = async (pieces: AsyncIterable<string>): Promise<string> => {
      let all = "";
      for await (const piece of pieces) all += piece;
      return all;
    };
    const json = JSON.parse(await text(exportJson(store))) as Record<string, Record<string, object[]>>;
    expect(json["concepts"]!["examples"]).toEqual(JSON.parse(JSON.stringify(rows.flat())));
    expect(json["concepts"]!["batches"]).toEqual(batchRows.flat());
    expect(json["concepts"]!["latents"]![0]).toMatchObject({ hook: hooks[0]!.name, latent: 3, share: 0.25, chosen: 1 });
    expect((await text(exportCsv(store, "batches"))).split("\r\n")[0]).toBe("analysis,batch,direction,label");
  });
});
