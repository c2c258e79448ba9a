/**
 * A real language model from its quantised GGUF file, and its two SAEs, against transformers in float32. A few examples of
 * each kind run by default; `FULL=1` runs all of them.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { analyzeBatch, type AnalysisOptions } from "../src/analysis/run/batch.ts";
import type { AnalysisResult } from "../src/analysis/tables/index.ts";
import { batches, openDataset, type Batch, type BatchesOptions } from "../src/data/index.ts";
import { logSumExp, mean, select, takeRows, type Tensor } from "../src/graph/index.ts";
import { HookedModel, tokenBatch, type PositionPolicy, type TokenBatch } from "../src/model/index.ts";
import { Sae, spliceHooks } from "../src/sae/index.ts";
import { full } from "./support/full.ts";
import { readJson, shared } from "./support/shared.ts";
import { describeWithGoldens } from "./support/goldens.ts";
import { indexLeaf, numbersOf, padded, rowsOf } from "./support/model.ts";

const folder = "models/smollm2-135m-instruct";
const rte = "data/rte/validation.jsonl";

/** The 20 largest logits of a row, and what all of them sum up to. */
interface Last {
  ids: number[];
  logits: number[];
  logsumexp: number;
  mean: number;
}

interface Prompt {
  text: string;
  ids: number[];
  last: Last;
  loss: number;
  token_logprobs: number[];
  resid_post_last: Record<string, number[]>;
  resid_post_norms: number[][];
  layer0?: { pattern: number[][][]; z_last: number[] };
}

interface Golden {
  prompts: Record<string, Prompt>;
  left_padded_batch: { ids: number[][]; attention_mask: number[][]; runs: Record<string, { last: Last[] }> };
}

interface RteForm {
  style: "inline" | "package";
  format: "raw" | "chat";
  answer_ids: number[];
  examples: { idx: number; n_tokens: number; top1: number; logsumexp: number; answer_logits: number[] }[];
}

interface Ioi {
  summary: { n: number; mean_logit_diff: number };
  examples: {
    text: string;
    ids: number[];
    io: number;
    s: number;
    top1: number;
    logits: number[];
    logit_diff: number;
  }[];
}

interface SaeMode {
  logit_diff: number;
  gradient: number[];
  ablation: number[];
}

interface SaeGolden {
  hook: string;
  prompt0: { positions: number[]; latents_per_position: [number, number][][]; x: number[][]; xhat: number[][] };
  examples: {
    idx: number;
    format: "raw" | "chat";
    n_tokens: number;
    correct: number;
    incorrect: number;
    logit_diff_clean: number;
    ce: { clean: number; splice: number };
    topk_gap_min: number;
    latents: number[];
    activations: number[];
    splice: SaeMode;
    error_term: SaeMode;
  }[];
}

/** The logits of the last position of unpadded or left-padded rows, [batch, d_vocab]. */
const lastLogits = (logits: Tensor, batch: TokenBatch): Tensor => select(logits, 1, batch.length - 1);

/** Rows of an analysis' latents at one row of a batch. */
function latentsOf(
  result: AnalysisResult,
  example: number,
  column: "latent" | "activation" | "attribution_values",
): number[] {
  const at = Array.from(result.latents.example.keys()).filter((i) => result.latents.example[i] === example);
  return at.map((i) => result.latents[column]![i]!);
}

describeWithGoldens("SmolLM2-135M-Instruct, Q4_1 GGUF", [folder, rte], () => {
  const golden = readJson<Golden>(shared(`${folder}/golden.json`));
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.load(shared(`${folder}/SmolLM2-135M-Instruct.Q4_1.gguf`));
  });
  afterAll(() => model.dispose());

  /** Batches of the first RTE examples in one prompt form. */
  async function* rteBatches(
    limit: number,
    form: { style: string; format: string },
    answers: readonly number[],
    batchSize = 8,
  ): AsyncGenerator<Batch> {
    const options: BatchesOptions = {
      tokenizer: model.tokenizer,
      prompt: form.style === "inline" ? "inline" : "package",
      chat: form.format === "chat" ? "template" : "plain",
      answers,
      batchSize,
    };
    yield* batches(await openDataset(shared(rte), { limit }), options);
  }

  const close = (row: readonly number[], last: Last, where: string): void =>
    expect(
      last.ids.map((id) => row[id]!),
      where,
    ).toBeAllClose(last.logits);

  describe.each(Object.keys(golden.prompts))("prompt %s", (name) => {
    const prompt = golden.prompts[name]!;
    const special = name === "chat";

    test("tokens", () => {
      const { ids } = model.tokenizer.encode(prompt.text, { addSpecialTokens: !special });
      expect([...ids]).toEqual(prompt.ids);
    });

    test("logits, losses, residuals", async () => {
      const names = Array.from({ length: model.cfg.n_layers }, (_, l) => `blocks.${l}.hook_resid_post`);
      const first = ["blocks.0.attn.hook_pattern", "blocks.0.attn.hook_z"];
      const found = await model.run(prompt.ids, ({ logits, loss, lossPerToken, hooks, batch }) => ({
        last: lastLogits(logits, batch),
        sum: logSumExp(lastLogits(logits, batch), -1),
        mean: mean(lastLogits(logits, batch), -1),
        loss,
        lossPerToken,
        hooks: Object.fromEntries([...names, ...first].map((n) => [n, hooks[n]!])),
      }));
      close(numbersOf(found.last), prompt.last, "last");
      expect(numbersOf(found.sum)).toBeAllClose([prompt.last.logsumexp]);
      expect(numbersOf(found.mean)).toBeAllClose([prompt.last.mean]);
      expect(numbersOf(found.loss)).toBeAllClose([prompt.loss]);
      expect(numbersOf(found.lossPerToken).map((x) => -x)).toBeAllClose(prompt.token_logprobs);
      const rows = names.map((n) => rowsOf(numbersOf(found.hooks[n]!), model.cfg.d_model));
      for (const [layer, values] of Object.entries(prompt.resid_post_last))
        expect(rows[Number(layer)]!.at(-1)!, `residual ${layer}`).toBeCloseToLargest(values);
      rows.forEach((positions, layer) => {
        const norms = positions.map((x) => Math.hypot(...x));
        const relative = norms.map((x, p) => x / prompt.resid_post_norms[layer]![p]!);
        expect(relative, `norms ${layer}`).toBeAllClose(norms.map(() => 1));
      });
      if (prompt.layer0 === undefined) return;
      expect(numbersOf(found.hooks[first[0]!]!)).toBeAllClose(prompt.layer0.pattern.flat(2));
      const width = model.cfg.n_heads * model.cfg.d_head;
      expect(rowsOf(numbersOf(found.hooks[first[1]!]!), width).at(-1)!).toBeAllClose(prompt.layer0.z_last);
    });
  });

  const policies: [PositionPolicy, string][] = [
    ["explicit", "position_ids = cumsum(mask)-1"],
    ["padded", "position_ids = column index"],
  ];
  test.each(policies)("left-padded batch, positions %s", async (positions, run) => {
    const { ids, attention_mask: mask, runs } = golden.left_padded_batch;
    const last = await model.run(tokenBatch(ids, { mask, positions }), ({ logits, batch }) =>
      lastLogits(logits, batch),
    );
    const rows = rowsOf(numbersOf(last), model.cfg.d_vocab);
    runs[run]!.last.forEach((expected, b) => close(rows[b]!, expected, `row ${b}`));
  });

  describe("RTE", () => {
    const forms = readJson<Record<string, RteForm>>(shared(`${folder}/golden-rte-first64.json`));
    test.each(Object.keys(forms))("%s: answer logits, padded on the left", async (name) => {
      const form = forms[name]!;
      const received: number[][] = [];
      const sums: number[] = [];
      for await (const { dims, tokens, mask, answerIndices } of rteBatches(full ? 64 : 2, form, form.answer_ids)) {
        const batch = tokenBatch(rowsOf([...tokens], dims[1]), { mask: rowsOf([...mask], dims[1]) });
        const { rows, sum } = await model.run(batch, ({ logits }) => {
          const at = select(takeRows(logits, indexLeaf([...answerIndices], [dims[0], 1], [batch.batch, 1])), 1, 0); // [batch, d_vocab]
          return { rows: at, sum: logSumExp(at, -1) };
        });
        received.push(...rowsOf(numbersOf(rows), model.cfg.d_vocab));
        sums.push(...numbersOf(sum));
        expect(batch.mask.map((row) => row.filter((m) => m === 1).length)).toEqual(
          form.examples.slice(received.length - dims[0], received.length).map((e) => e.n_tokens),
        );
      }
      const expected = form.examples.slice(0, received.length);
      expect(received.flatMap((row) => form.answer_ids.map((id) => row[id]!))).toBeAllClose(
        expected.flatMap((e) => e.answer_logits),
      );
      expect(sums).toBeAllClose(expected.map((e) => e.logsumexp));
      expect(received.map((row) => row.indexOf(row.reduce((a, b) => Math.max(a, b))))).toEqual(
        expected.map((e) => e.top1),
      );
    });
  });

  test("indirect objects: 64 of 64 right, by 4.08 on average", async () => {
    const { summary, examples } = readJson<Ioi>(shared(`${folder}/golden-ioi.json`));
    const { ids, mask } = padded(
      examples.map((e) => e.ids),
      "left",
      2,
    );
    const last = await model.run(tokenBatch(ids, { mask }), ({ logits, batch }) => lastLogits(logits, batch));
    const rows = rowsOf(numbersOf(last), model.cfg.d_vocab);
    const diffs = examples.map((e, b) => rows[b]![e.io]! - rows[b]![e.s]!);
    expect(examples.flatMap((e, b) => [rows[b]![e.io]!, rows[b]![e.s]!])).toBeAllClose(
      examples.flatMap((e) => e.logits),
    );
    expect(diffs).toBeAllClose(examples.map((e) => e.logit_diff));
    expect(diffs.filter((x) => x > 0)).toHaveLength(summary.n);
    expect(diffs.reduce((a, b) => a + b) / summary.n).toBeCloseTo(summary.mean_logit_diff, 4);
    expect(rows.map((row) => row.indexOf(row.reduce((a, b) => Math.max(a, b))))).toEqual(examples.map((e) => e.top1));
  });

  describe.each(["sae-resid_pre-11", "sae-hook_z-20"])("%s", (name) => {
    const { hook, prompt0, examples } = readJson<SaeGolden>(shared(`${folder}/${name}/golden.json`));
    let sae: Sae;
    beforeAll(async () => {
      sae = await Sae.load(shared(`${folder}/${name}`));
    });
    afterAll(() => sae.dispose());

    test("latents and reconstruction of the first prompt", async () => {
      const { ids } = golden.prompts["rte-0-inline-raw"]!;
      const { x, acts, recons } = await model.run(ids, ({ hooks }) => {
        const { acts, context } = sae.encode(hooks[hook]!);
        return { x: hooks[hook]!, acts, recons: sae.decode(acts, context) };
      });
      const [inputs, outputs] = [x, recons].map((t) => rowsOf(numbersOf(t), sae.dIn));
      const latents = rowsOf(numbersOf(acts), sae.dSae);
      prompt0.positions.forEach((p, i) => {
        expect(inputs![p]!, `input at ${p}`).toBeCloseToLargest(prompt0.x[i]!);
        expect(outputs![p]!, `reconstruction at ${p}`).toBeCloseToLargest(prompt0.xhat[i]!);
        const active = latents[p]!.flatMap((a, j) => (a > 0 ? [[j, a] as const] : []));
        const expected = prompt0.latents_per_position[i]!;
        expect(active.map(([j]) => j)).toEqual(expected.map(([j]) => j));
        expect(active.map(([, a]) => a)).toBeAllClose(expected.map(([, a]) => a));
      });
    });

    // A gap this small between the last latent kept and the first one dropped flips with the order of additions.
    const safe = examples.filter((e) => e.topk_gap_min > 1e-5);
    const some = full ? safe : safe.filter((e) => [0, 1, 10, 11].includes(e.idx));
    const modes = (["splice", "error_term"] as const).flatMap((mode) =>
      (["raw", "chat"] as const).map((format) => ({ mode, format })),
    );
    const one = name.includes("resid") ? 0 : 3;

    test.each(full ? modes : [modes[one]!])(
      "$mode, $format prompts: differences, latents, gradients, exact ablation",
      async ({ mode, format }) => {
        const chosen = new Map(some.filter((e) => e.format === format).map((e) => [e.idx, e]));
        const options: AnalysisOptions = { useErrorTerm: mode === "error_term", saveInputs: false };
        const form = { style: "inline", format };
        const [first] = chosen.values();
        const answers = [first!.correct, first!.incorrect];
        let checked = 0;
        for await (const batch of rteBatches(Math.max(...chosen.keys()) + 1, form, answers, 2)) {
          if (![...batch.examples].some((e) => chosen.has(e))) continue;
          const rows = [...batch.examples].map((idx) => chosen.get(idx) ?? examples[idx]!);
          const answerIds = rows.flatMap((e) => [e.correct, e.incorrect]);
          const result = await analyzeBatch(model, [sae], { ...batch, answerIds, labels: rows.map(() => 0) }, options);
          const {
            logit_diffs_base: base,
            logit_diffs_sae: spliced,
            logit_diffs_attr_grad: grad,
            logit_diffs_attr_ablation: ablation,
          } = result;
          for (const [b, expected] of rows.entries()) {
            if (!chosen.has(expected.idx)) continue;
            const where = `example ${expected.idx}`;
            const { [mode]: values } = expected;
            expect([base!.examples[b]!.logit_diffs], where).toBeAllClose([expected.logit_diff_clean]);
            expect([spliced!.examples[b]!.logit_diffs], where).toBeAllClose([values.logit_diff]);
            expect(latentsOf(spliced!, expected.idx, "latent"), where).toEqual(expected.latents);
            expect(latentsOf(spliced!, expected.idx, "activation"), where).toBeAllClose(expected.activations);
            expect(latentsOf(grad!, expected.idx, "attribution_values"), where).toBeAllClose(values.gradient);
            expect(latentsOf(ablation!, expected.idx, "attribution_values"), where).toBeAllClose(values.ablation);
            checked++;
          }
        }
        expect(checked).toBe(chosen.size);
      },
    );

    test("cross entropy with and without the SAE", async () => {
      const chosen = some.filter((e) => e.format === "raw");
      for await (const { dims, tokens, mask, examples: ids } of rteBatches(
        Math.max(...chosen.map((e) => e.idx)) + 1,
        { style: "inline", format: "raw" },
        [0, 1],
        1,
      )) {
        const expected = chosen.find((e) => e.idx === ids[0]);
        if (expected === undefined) continue;
        const batch = tokenBatch(rowsOf([...tokens], dims[1]), { mask: rowsOf([...mask], dims[1]) });
        expect(numbersOf(await model.loss(batch))).toBeAllClose([expected.ce.clean]);
        const spliced = await model.withSplices(spliceHooks([sae])).run(batch, ({ loss }) => loss);
        expect(numbersOf(spliced)).toBeAllClose([expected.ce.splice]);
      }
    });
  });
});
