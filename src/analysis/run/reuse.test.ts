/** @file What a data set's run has computed a session's run finds, and the other way round; nothing else does. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { failure } from "../../../test/support/failure.ts";
import { randomModel, randomSae, shapes } from "../../../test/support/random.ts";
import { batches, datasetOf, type Dataset } from "../../data/index.ts";
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { AnalysisError } from "../errors.ts";
import type { OpOptions } from "../ops/index.ts";
import { runConfig } from "../plan/runConfig.ts";
import { AnalysisStore, StoreWriter } from "../store/index.ts";
import type { AnalysisName } from "../tables/index.ts";
import { analyzeDataset } from "./analyze.ts";
import { AnalysisRunner } from "./runner.ts";

const [model, other] = [1, 2].map((seed) => randomModel(shapes["gpt2"]!, seed)) as [HookedModel, HookedModel];
const saeOf = (seed: number, width = 24): LatentModel =>
  randomSae(model, "blocks.1.attn.hook_z", "standard", width, seed);
const saes = [saeOf(1), randomSae(model, "blocks.2.hook_resid_pre", "standard", 10, 2)];
afterAll(() => [model, other].forEach((each) => each.dispose()));

interface Row {
  readonly input_ids: readonly number[];
  readonly label: number;
  readonly answers: readonly number[];
}

const rows = [4, 2, 5].map((length, i): Row => ({
  input_ids: Array.from({ length }, (_, p) => (3 * p + i) % 30),
  label: i % 2,
  answers: [4, 9],
}));
const changed = (own: Partial<Row>): Row[] => rows.map((row, i) => (i === 1 ? { ...row, ...own } : row));

/** What is run. */
interface Facts {
  readonly model: HookedModel;
  readonly saes: readonly LatentModel[];
  readonly rows: readonly Row[];
  readonly batchSize: number;
  readonly options: OpOptions;
  readonly analyses: readonly AnalysisName[];
}
const names: readonly AnalysisName[] = ["logit_diffs_sae", "logit_diffs_attr_ablation"];
const facts: Facts = { model, saes, rows, batchSize: 2, options: {}, analyses: names };

const dataOf = ({ rows: some }: Facts): Promise<Dataset> =>
  datasetOf(() => some.map((value, i) => ({ value: { ...value }, where: `row ${i}` })), { name: "rows" });

interface Store {
  readonly out?: string;
  readonly reuse?: readonly string[];
  readonly resume?: boolean;
}

/** Runs the data set; gives the names of what was found. */
async function analyzed(run: Facts, store: Store): Promise<string[]> {
  const { options, ...rest } = run;
  const data = await dataOf(run);
  const { reused } = await analyzeDataset({ ...rest, ...options, ...store, data });
  return Object.keys(reused);
}

/** The same as a split of a session. */
async function ran(run: Facts, store: Store): Promise<string[]> {
  const { batchSize, options } = run;
  const data = await dataOf(run);
  const datamodule = { evalBatchSize: batchSize, batches: () => batches(data, { batchSize }) };
  const module = { model: run.model, saes: run.saes, answers: null };
  const runner = new AnalysisRunner({ module, datamodule }, { ...options, ...store, split: "validation" });
  await runner.run(run.analyses);
  return Object.keys(runner.facts!.reused);
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "reuse-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe.each([
  { first: "a data set", then: "a session", computed: analyzed, found: ran },
  { first: "a session", then: "a data set", computed: ran, found: analyzed },
])("what was computed of $first", ({ computed, found }) => {
  it("is found where the facts are equal, and gives the same bytes", async () => {
    const [one, two] = [join(folder, "one"), join(folder, "two")];
    expect(await computed(facts, { out: one })).toEqual([]);
    expect(await found(facts, { out: two, reuse: [one] })).toEqual(names);
    for (const name of names) {
      const files = await readdir(join(one, name));
      expect(files.length).toBeGreaterThan(0);
      for (const file of files)
        expect(await readFile(join(two, name, file))).toEqual(await readFile(join(one, name, file)));
    }
    // What pads are guessed with decides nothing where nothing is guessed.
    expect(await found({ ...facts, options: { prependBos: false } }, { reuse: [one] })).toEqual(names);
    // The store itself is continued: nothing is left to do.
    await found(facts, { out: one, resume: true });
    const { runs } = (await AnalysisStore.open(one)).manifest;
    expect(runs.map((run) => run["examples"])).toEqual([3, 0]);
  });

  it("is not found where one differs", async () => {
    const one = join(folder, "one");
    // Any analysis will do: the address is the run's.
    const base: Facts = { ...facts, analyses: ["logit_diffs_base"] };
    await computed(base, { out: one });
    expect(await found(base, { reuse: [one] })).toEqual(base.analyses);
    const differing: Record<string, Partial<Facts>> = {
      model: { model: other },
      "an SAE's weights": { saes: [saeOf(3), saes[1]!] },
      "an SAE's width": { saes: [saeOf(1, 20), saes[1]!] },
      "which SAEs": { saes: [saes[0]!] },
      "a row less": { rows: rows.slice(1) },
      "the order of rows": { rows: rows.toReversed() },
      "a token": { rows: changed({ input_ids: [1, 4, 8, 2] }) },
      "a label": { rows: changed({ label: 0 }) },
      answers: { rows: changed({ answers: [4, 10] }) },
      batches: { batchSize: 3 },
      difference: { options: { diff: "best-other" } },
      ablation: { options: { ablate: "all" } },
      "error term": { options: { useErrorTerm: true } },
      "another function": { options: { ablateLatentFn: (acts) => acts } },
    };
    for (const [fact, own] of Object.entries(differing))
      expect([fact, await found({ ...base, ...own }, { reuse: [one] })]).toEqual([fact, []]);
  });
});

it("what pads are guessed with decides a run that guesses them", () => {
  const plan = { sizes: [1], examples: 1, sha256: "", answers: null };
  const config = (options: OpOptions): object => runConfig({ model, saes: [], hooks: [], plan, batchSize: 1, options });
  expect(config({ paddingSide: "right" })).toEqual(config({}));
  expect(config({ positions: "tlLegacy", paddingSide: "right" })).not.toEqual(config({ positions: "tlLegacy" }));
  expect(config({ positions: "tlLegacy", prependBos: false })).not.toEqual(config({ positions: "tlLegacy" }));
});

it("a store whose config has another form is not continued, and says why", async () => {
  const old = { model: "0", prompt: "package" };
  await (await StoreWriter.create(folder, old, { analyses: names, hooks: [], shards: 1 })).close();
  for (const work of [analyzed, ran]) {
    const error = await failure(AnalysisError, work(facts, { out: folder, resume: true }));
    expect(error.code).toBe("store/other-config");
    expect(error.message).toContain("form: ");
    expect(error.hint).toContain("another form");
  }
});
