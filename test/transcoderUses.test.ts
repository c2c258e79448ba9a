/** Transcoders beside SAEs: gradients, the command line, sessions, names of a hub, dashboards. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  analyzeBatch,
  AnalysisRunner,
  ops,
  type AnalysisBatch,
  type AnalysisOptions,
  type StoreExport,
} from "../src/analysis/index.ts";
import { datasetOf, openDataset } from "../src/data/index.ts";
import { add, leaf, takeRows, type Tensor } from "../src/graph/index.ts";
import { HookedModel, saveModel } from "../src/model/index.ts";
import { reference, Runtime } from "../src/runtime/index.ts";
import { latentModelOf, loadLatentModel, Sae, spliceHooks, Transcoder, type LatentModel } from "../src/sae/index.ts";
import { Session } from "../src/session/index.ts";
import { cli, document } from "./support/cli.ts";
import { hubFixture } from "./support/hubFixture.ts";
import { indexLeaf, numbersOf, padded } from "./support/model.ts";
import { randomModel, randomNumbers, randomRows, randomSae, randomTranscoder, shapes } from "./support/random.ts";
import { cases, goldenTensors, saeGoldens } from "./support/saeGolden.ts";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "interpretune-transcoders-"))));
afterAll(() => rmSync(folder, { recursive: true }));

const mlp = ["blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out"] as const;
const latentsAt = `${mlp[1]}.hook_sae_acts_post`;
const labels = [1, 0, 1];
const answers = [
  [3, 8],
  [5, 2],
  [9, 7],
];

function batchOf(side: "left" | "right"): AnalysisBatch & { ids: number[][]; real: number[][]; last: number[] } {
  const { ids, mask } = padded(randomRows([6, 3, 5], 30, 5), side, 0);
  const last = mask.map((row) => row.lastIndexOf(1));
  return {
    index: 0,
    dims: [3, ids[0]!.length],
    ...{ tokens: ids.flat(), mask: mask.flat(), answerIndices: last, labels, classes: 2 },
    ...{ answerIds: answers.flat(), examples: [0, 1, 2], ids, real: mask, last },
  };
}

describe("gradients by a transcoder's latents equal finite differences", () => {
  /** Σ of the logit differences with something added to each latent at the answer positions, in float64 but for the last rounding. */
  async function diffs(
    model: HookedModel,
    saes: readonly LatentModel[],
    { ids, real, last }: ReturnType<typeof batchOf>,
    options: AnalysisOptions,
    nudge: { hook: string; latent: number; row: number; width: number; by: number },
  ): Promise<number> {
    const exact = new HookedModel({
      cfg: model.cfg,
      weights: model.weights,
      runtime: new Runtime({ backend: reference }),
    });
    const tokens = exact.batch(ids, { attentionMask: real });
    const { latent, row, width, by } = nudge;
    const change = new Float32Array(tokens.batchSize * tokens.length * width);
    change[(row * tokens.length + last[row]!) * width + latent] = by;
    const shift = leaf(change, [tokens.batchSize, tokens.length, width], { shape: [tokens.batch, tokens.pos, width] });
    const at = indexLeaf(last, [3, 1], [tokens.batch, 1]);
    const logits = await exact.run(tokens, (traced) => takeRows(traced.logits, at), {
      splices: spliceHooks(saes, options),
      hooks: [[nudge.hook, (acts): Tensor => add(acts, shift)]],
    });
    const values = numbersOf(logits);
    const vocabulary = model.cfg.d_vocab_out;
    return labels.reduce((sum, label, b) => {
      const [right, wrong] = [answers[b]![label]!, answers[b]![1 - label]!];
      return sum + values[b * vocabulary + right]! - values[b * vocabulary + wrong]!;
    }, 0);
  }

  it.each([
    ["gpt2", "transcoder", "left", {}],
    ["gpt2", "jumprelu_skip_transcoder", "right", { useErrorTerm: true, gradientThroughError: true }],
    ["llama", "skip_transcoder", "left", { useErrorTerm: true, gradientThroughError: true }],
    ["llama", "jumprelu_transcoder", "right", {}],
  ] as const)("%s, %s, %s padding, %j", async (family, kind, side, options) => {
    const model = randomModel(shapes[family]!, 2);
    const saes = [
      randomSae(model, "blocks.0.hook_resid_post", "standard", 8, 2),
      randomTranscoder(model, mlp, kind, 10, 3),
      randomSae(model, "blocks.2.attn.hook_z", "standard", 8, 4),
    ];
    const batch = batchOf(side);
    const { latents, hooks } = (
      await analyzeBatch(model, saes, batch, { ...options, analyses: ["logit_diffs_attr_grad"] })
    ).logit_diffs_attr_grad!;
    const own = Array.from({ length: latents.length }, (_, i) => i).filter(
      (i) => hooks[latents.hook[i]!]!.name === latentsAt,
    );
    expect(own.length).toBeGreaterThan(6);
    const [found, expected] = [[] as number[], [] as number[]];
    for (const i of own.filter((_, j) => j % 3 === 0)) {
      const { name: hook, width } = hooks[latents.hook[i]!]!;
      const at = (by: number): Promise<number> =>
        diffs(model, saes, batch, options, { hook, latent: latents.latent[i]!, row: latents.example[i]!, width, by });
      const step = 2 ** -7;
      found.push(latents.attribution_values![i]! / latents.activation[i]!);
      expected.push(((await at(step)) - (await at(-step))) / (2 * step));
    }
    expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(0.05);
    expect(found).toBeAllClose(expected, 1e-3);
  });

  it("latents that nobody reads any more have no effect by ablation, and no gradient", async () => {
    const model = randomModel(shapes["gpt2"]!, 2);
    const inner = latentModelOf(
      { architecture: "standard", d_in: 24, d_sae: 4, metadata: { hook_name: "blocks.1.mlp.hook_post" } },
      {
        W_enc: { dims: [24, 4], data: new Float32Array(96).fill(0.5) },
        b_enc: { dims: [4], data: new Float32Array(4).fill(9) },
        W_dec: { dims: [4, 24], data: new Float32Array(96).fill(0.5) },
        b_dec: { dims: [24], data: new Float32Array(24) },
      },
    );
    const saes = [inner, randomTranscoder(model, mlp, "transcoder", 10, 3)];
    const { logit_diffs_attr_ablation: ablation } = await analyzeBatch(model, saes, batchOf("left"), {
      analyses: ["logit_diffs_attr_ablation"],
    });
    const { latents, hooks } = ablation!;
    const effects = Array.from(latents.attribution_values!).filter(
      (_, i) => hooks[latents.hook[i]!]!.name !== latentsAt,
    );
    expect(effects.length).toBe(12);
    expect(effects).toBeAllClose(new Array<number>(12).fill(0), 1e-5);
    await expect(analyzeBatch(model, saes, batchOf("left"), { analyses: ["logit_diffs_attr_grad"] })).rejects.toThrow(
      /do not depend on these latents.*blocks\.1\.mlp\.hook_post\.hook_sae_acts_post .*leave one of them out/s,
    );
  });
});

describe("one loader", () => {
  it("gives what the configuration says, and both kinds of file", async () => {
    for (const name of cases("transcoders").filter((each) => each !== "foreign"))
      expect(await loadLatentModel(saeGoldens(`transcoders/${name}`))).toBeInstanceOf(Transcoder);
    expect(await loadLatentModel(saeGoldens("native/topk"))).toBeInstanceOf(Sae);
    expect(await loadLatentModel(saeGoldens("foreign/legacy-resid/source"))).toBeInstanceOf(Sae);
    await expect(Sae.load(saeGoldens("transcoders/transcoder"))).rejects.toThrow("Transcoder.load");
    await expect(Transcoder.load(saeGoldens("native/topk"))).rejects.toThrow("an SAE is loaded with Sae.load");
  });

  it("finds Gemma Scope's by release and id, as do sessions", async () => {
    const { hub, options } = await hubFixture();
    const npz = {
      file: saeGoldens("transcoders/foreign/npz-transcoder/source/layer_3/width_16k/average_l0_8/params.npz"),
    };
    const repository = "google/gemma-scope-2b-pt-transcoders";
    hub.add({ id: repository, files: { "layer_3/width_16k/average_l0_54/params.npz": npz } });
    const loaded = await loadLatentModel("gemma-scope-2b-pt-transcoders/layer_3/width_16k/average_l0_54", {
      hub: options,
    });
    expect(loaded).toBeInstanceOf(Transcoder);
    expect([loaded.hookName, loaded.hookNameOut, loaded.cfg.metadata.neuronpedia_id]).toEqual([
      "blocks.3.ln2.hook_normalized",
      "blocks.3.hook_mlp_out",
      "gemma-2-2b/3-gemmascope-transcoder-16k",
    ]);
    const saeCfgs = [
      { release: "gemma-scope-2b-pt-transcoders", saeId: "layer_3/width_16k/average_l0_54" },
      { path: saeGoldens("native/topk") },
    ];
    const session = await Session.create({
      model: randomModel(shapes["gemma2"]!, 1),
      data: await datasetOf(() => [{ value: { input_ids: [1, 2], label: 0 }, where: "row" }], { name: "row" }),
      hub: options,
      adapterCtx: ["core", "sae_lens"],
      moduleCfg: { classificationMapping: [5, 7], saeCfgs, coreLogDir: folder },
      logStream: null,
    });
    const { saes } = session.module;
    expect(saes.map((each) => each instanceof Transcoder)).toEqual([true, false]);
    expect(saes[0]!.cfg).toEqual(loaded.cfg);
  });
});

describe("sae-forward", () => {
  it.each(cases("transcoders").filter((each) => each !== "foreign"))(
    "%s: every point, as SAELens has it",
    async (name) => {
      const golden = saeGoldens(`transcoders/${name}`);
      const expected = await goldenTensors(join(golden, "golden.safetensors"));
      const out = join(folder, "forward.safetensors");
      const args = ["sae-forward", "--sae", golden, "--input", join(golden, "golden.safetensors"), "--out", out];
      await document(args);
      const ours = await goldenTensors(out);
      const names = [...expected.keys()].filter((each) => each.startsWith("hook."));
      expect(names.length).toBe(4);
      for (const each of names) expect(ours.get(each.slice(5))!.data, each).toBeAllClose(expected.get(each)!.data);
      expect(ours.get("hook_sae_output")!.data).toBeAllClose(expected.get("forward")!.data);
      const refused = await cli([...args, "--error-term"]);
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringContaining("a transcoder alone has no error term"),
      ]);
    },
  );
});

/** A model's files, and those of an SAE and a transcoder for it. */
async function files(): Promise<{
  model: string;
  saes: string[];
  data: string;
  loaded: HookedModel;
  both: LatentModel[];
}> {
  const made = randomModel(shapes["llama"]!, 4);
  await saveModel(join(folder, "model"), made);
  const loaded = await HookedModel.load(join(folder, "model"));
  const both = [
    randomSae(loaded, "blocks.0.hook_resid_post", "standard", 10, 2),
    randomTranscoder(loaded, mlp, "skip_transcoder", 12, 3),
  ];
  const saes = [join(folder, "sae"), join(folder, "transcoder")];
  for (const [i, each] of both.entries()) await each.save(saes[i]!);
  const data = join(folder, "rows.jsonl");
  const next = randomNumbers(3);
  const rows = randomRows([5, 7, 4, 6], 30, 8).map((input_ids) => ({ input_ids, label: next() > 0 ? 1 : 0 }));
  writeFileSync(data, rows.map((row) => JSON.stringify(row)).join("\n"));
  return { model: join(folder, "model"), saes, data, loaded, both };
}

describe("on the command line and in sessions", () => {
  let given: Awaited<ReturnType<typeof files>>;
  beforeAll(async () => void (given = await files()));

  it("what does not go together is one clear error, and no store is begun", async () => {
    const { loaded } = given;
    const wrong = {
      backwards: randomTranscoder(loaded, [mlp[1], mlp[0]], "transcoder", 4, 1),
      second: randomSae(loaded, mlp[1], "standard", 4, 1),
    };
    const messages = {
      backwards: `the splice at ${mlp[0]} reads ${mlp[1]}, which this pass does not reach before it`,
      second: `two SAEs share a hook point; in ${mlp[1]}`,
    };
    for (const name of ["backwards", "second"] as const) {
      await wrong[name].save(join(folder, name));
      const out = join(folder, `store-${name}`);
      const args = ["--saes", join(folder, name), "--data", given.data, "--answers", "5,7", "--out", out];
      const { code, stderr } = await cli(["analyze", ...flags(), ...args]);
      expect([code, stderr]).toEqual([1, expect.stringContaining(messages[name])]);
      expect(existsSync(out)).toBe(false);
    }
  });
  const flags = (): string[] => ["--model", given.model, ...given.saes.flatMap((path) => ["--saes", path])];

  it("activations: their points, and gradients by them", async () => {
    const { loaded, both } = given;
    const tokens = join(folder, "tokens.json");
    const { ids, real } = batchOf("left");
    writeFileSync(tokens, JSON.stringify({ input_ids: ids, attention_mask: real }));
    const out = join(folder, "activations.safetensors");
    const run = (...more: string[]): Promise<unknown> =>
      document(["activations", ...flags(), "--tokens", tokens, "--out", out, "--names", "*.hook_sae_*", ...more]);
    const spliced = loaded.splice(both);
    const batch = loaded.batch(ids, { attentionMask: real });
    const { cache } = await spliced.runWithCache(batch, { names: "*.hook_sae_*" });
    expect(await run()).toMatchObject({ tensors: [...cache.names].map((name) => ({ name })) });
    const points = await goldenTensors(out);
    expect(points.size).toBe(10);
    for (const [name, { data }] of points) expect(data, name).toBeAllClose(cache.get(name).toArray());
    await run("--grad-of", "logit:5-logit:7", "--error-term");
    const withGradients = await goldenTensors(out);
    expect(withGradients.has(`${mlp[1]}.hook_sae_error`)).toBe(true);
    const at = indexLeaf(
      real.map((row) => row.lastIndexOf(1)),
      [3, 1],
      [batch.batch, 1],
    );
    const metric = ({ logits }: { logits: Tensor }): Tensor => {
      const last = takeRows(logits, at);
      return last
        .slice(2, 5, 6)
        .sub(last.slice(2, 7, 8))
        .sum();
    };
    const { hooks } = await loaded.splice(both, { useErrorTerm: true }).gradients(batch, metric, { names: latentsAt });
    expect(withGradients.get(`grad.${latentsAt}`)!.data).toBeAllClose(hooks[latentsAt]!.toArray());
  });

  it("analyze: a store with the latents of both, tables, and a page with dashboards; sessions give the same", async () => {
    const store = join(folder, "store");
    const args = ["analyze", ...flags(), "--data", given.data, "--answers", "5,7", "--batch-size", "2", "--out", store];
    const { code, stdout, stderr } = await cli([...args, "--report"]);
    expect([code, stderr.includes("rror:")]).toEqual([0, false]);
    expect(stdout).toContain(mlp[1]);
    const exported = (await document(["export", store])) as Required<StoreExport>;
    const { latents } = exported.logit_diffs_attr_ablation;
    expect(new Set(latents.map(({ hook }) => hook))).toEqual(
      new Set(["blocks.0.hook_resid_post.hook_sae_acts_post", latentsAt]),
    );
    const page = readFileSync(join(store, "report.html"), "utf8");
    expect(page).toContain(mlp[1]);
    expect(page).toContain("W_U, centred over the vocabulary");

    const session = await Session.create({
      model: given.model,
      data: await openDataset(given.data, {}),
      adapterCtx: ["core", "sae_lens"],
      moduleCfg: { classificationMapping: [5, 7], saeCfgs: given.saes.map((path) => ({ path })), coreLogDir: folder },
      evalBatchSize: 2,
      logStream: null,
    });
    const { saes } = session.module;
    expect(saes[1]).toBeInstanceOf(Transcoder);
    expect(session.module.constructNamesFilter()).toContain(latentsAt);
    const { logit_diffs_attr_ablation: ablation } = await new AnalysisRunner(session).run([ops.logitDiffsAttrAblation]);
    expect(ablation.latents.length).toBe(latents.length);
    expect(Array.from(ablation.latents.attribution_values!)).toBeAllClose(
      latents.map((row) => row.attribution_values!),
    );
  });
});
