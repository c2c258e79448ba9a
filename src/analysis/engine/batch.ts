/** @file The four analyses of one batch, computed together. */
import { gradients, mul, sum, takeRows, type Tensor } from "../../graph/index.ts";
import type { KeyValues } from "../../model/attention.ts";
import { rowsOf } from "../../model/batch.ts";
import type { HookedModel, PositionPolicy } from "../../model/index.ts";
import { spliceHooks, type Sae, type SpliceOptions } from "../../sae/index.ts";
import { AnalysisError } from "../errors.ts";
import {
  analysisNames,
  analysisResult,
  emptyLatents,
  type AnalysisName,
  type AnalysisResult,
  type ExampleRow,
  type HookInfo,
  type LatentColumns,
} from "../store/index.ts";
import {
  ablateCone,
  ablateRows,
  isCausal,
  startLayer,
  startsAtTokens,
  type AblatedValues,
  type AblationSetting,
  type SplicedRun,
} from "./ablation.ts";
import { answerLeaves, answerValues, type AnswerLeaves, type AnswerValues, type DiffKind } from "./answers.ts";

/** A batch to analyse: rectangles row-major, as `batches` of the data layer gives them. */
export interface AnalysisBatch {
  readonly index: number;
  readonly dims: readonly [b: number, p: number];
  readonly tokens: ArrayLike<number>;
  readonly mask: ArrayLike<number>;
  /** Where each row's answer is read; −1 is the last position. */
  readonly answerIndices: ArrayLike<number>;
  readonly labels: ArrayLike<number>;
  readonly classes: number;
  /** Token of every class, [b, classes]. */
  readonly answerIds: ArrayLike<number>;
  readonly examples: ArrayLike<number>;
  readonly prompts?: readonly string[] | null;
}

export interface AnalysisOptions {
  /** Which analyses; default all four. */
  analyses?: readonly AnalysisName[];
  /** Default `mean`. */
  diff?: DiffKind;
  /** Zero a latent at the answer position (default, exact and fast) or at every position. */
  ablate?: "answer" | "all";
  /** Splice SAEs with their error term. Default false, as published. */
  useErrorTerm?: boolean;
  gradientThroughError?: boolean;
  /** Hook names or layers of the SAEs whose latents are reported; all SAEs stay spliced. Default: all. */
  layers?: readonly number[];
  positions?: PositionPolicy;
  /** What `tlLegacy` guesses the mask with. Default: the tokenizer's pad and BOS. */
  paddingSide?: "left" | "right";
  prependBos?: boolean;
  /** Keep prompts and token ids in the examples table. Default true. */
  saveInputs?: boolean;
  signal?: AbortSignal;
  /** Pairs of (example, latent) ablated so far in this batch. */
  onAblation?: (done: number, total: number) => void;
}

/**
 * The latents' points of some SAEs, in the order in which a forward pass reaches them.
 * @example
 * hooksOf(model, saes)[0].info.name; // "blocks.9.attn.hook_z.hook_sae_acts_post"
 */
export function hooksOf(
  model: HookedModel,
  saes: readonly Sae[],
  layers?: readonly number[],
): { sae: Sae; info: HookInfo }[] {
  const order = new Map(model.describeHooks().map(({ name }, i) => [name, i]));
  const at = (sae: Sae): number => order.get(sae.hookName) ?? Number.MAX_SAFE_INTEGER;
  return [...saes]
    .sort((a, b) => at(a) - at(b))
    .filter((sae) => layers === undefined || layers.includes(startLayer(sae.hookName, model.cfg.n_layers)))
    .map((sae) => ({ sae, info: { name: `${sae.hookName}.hook_sae_acts_post`, width: sae.dSae } }));
}

/**
 * Runs the asked analyses of one batch. Everything but the ablation is one graph: the base and the spliced run share
 * the blocks below the first SAE, the gradient shares the spliced run, and the ablation reuses its keys and values.
 * @returns per analysis both tables, effects unmasked
 * @throws AnalysisError without SAEs for an analysis that needs them
 * @example
 * const data = await openDataset("rte/validation.jsonl", { limit: 8 });
 * for await (const batch of batches(data, { tokenizer: model.tokenizer, batchSize: 2 })) {
 *   const { logit_diffs_sae } = await analyzeBatch(model, saes, batch);
 *   console.log(logit_diffs_sae!.examples.map((row) => row.logit_diffs));
 * }
 */
export async function analyzeBatch(
  model: HookedModel,
  saes: readonly Sae[],
  batch: AnalysisBatch,
  options: AnalysisOptions = {},
): Promise<{ [A in AnalysisName]?: AnalysisResult }> {
  const {
    analyses = analysisNames,
    diff = "mean",
    ablate = "answer",
    useErrorTerm = false,
    gradientThroughError = false,
  } = options;
  const wants = (name: AnalysisName): boolean => analyses.includes(name);
  const spliced = analyses.some((name) => name !== "logit_diffs_base");
  if (spliced && saes.length === 0)
    throw new AnalysisError("these analyses need at least one SAE", {
      code: "analysis/no-saes",
      received: analyses.join(", "),
    });
  const tokens = model.batch(rowsOf(batch.tokens, batch.dims), {
    attentionMask: rowsOf(batch.mask, batch.dims),
    positions: options.positions,
    paddingSide: options.paddingSide,
    prependBos: options.prependBos,
  });
  const index = Array.from(batch.answerIndices, (i) => (i < 0 ? i + tokens.length : i));
  const answers = answerLeaves(tokens.batch, {
    ids: batch.answerIds,
    classes: batch.classes,
    labels: batch.labels,
    index,
  });
  const targets = spliced ? hooksOf(model, saes, options.layers) : [];
  const splice: SpliceOptions = { useErrorTerm, gradientThroughError };
  const cone = ablate === "answer" && isCausal(model);
  const needsAblation = wants("logit_diffs_attr_ablation") && targets.length > 0;

  const tree = {
    base: wants("logit_diffs_base") ? valuesAt(model.trace(tokens).logits, answers, diff) : undefined,
    spliced: spliced ? splicedTree() : undefined,
  };
  function splicedTree(): SplicedTree {
    const traced = model.trace(tokens, { splices: spliceHooks(saes, splice), capture: "*.hook_sae_*" });
    const values = valuesAt(traced.logits, answers, diff);
    const acts = targets.map(({ info }) => traced.hooks[info.name]!);
    const atAnswer = acts.map((x) => takeRows(x, answers.index)); // [batch, 1, latent]
    const grads = wants("logit_diffs_attr_grad") ? gradients(sum(values.diffs), acts) : undefined;
    return {
      values,
      acts: atAnswer,
      attributions: grads?.map((g, i) => mul(takeRows(g, answers.index), atAnswer[i]!)),
      runs: needsAblation ? targets.map(({ sae }) => splicedRun(sae)) : undefined,
    };
    function splicedRun(sae: Sae): RunTree {
      const pick = (x: Tensor): Tensor => (cone ? takeRows(x, answers.index) : x);
      const hook = (name: string): Tensor => pick(traced.hooks[`${sae.hookName}.${name}`]!);
      const layer = startLayer(sae.hookName, model.cfg.n_layers);
      const entering = startsAtTokens(sae.hookName) ? undefined : (traced.output.entering[layer] ?? undefined);
      const keyValues = cone ? traced.output.keyValues.map((kv, l) => (l >= layer ? kv : null)) : [];
      return {
        entering: entering && pick(entering),
        keyValues,
        sae: { input: hook("hook_sae_input"), acts: hook("hook_sae_acts_post"), output: hook("hook_sae_output") },
      };
    }
  }
  const done = await model.runtime.realize(tree, { weights: model.weightPolicy, signal: options.signal });

  const result: { [A in AnalysisName]?: AnalysisResult } = {};
  const infos = targets.map((t) => t.info);
  const examples = (values: AnswerValues): ExampleRow[] =>
    exampleRows(batch, index, answers, values, options.saveInputs ?? true);
  if (done.base !== undefined)
    result.logit_diffs_base = analysisResult(
      "logit_diffs_base",
      infos,
      examples(done.base),
      emptyLatents("logit_diffs_base"),
    );
  if (done.spliced === undefined) return result;
  const { values, acts, attributions, runs } = done.spliced;
  const active = activeLatents(batch, acts);
  const own = examples(values);
  if (wants("logit_diffs_sae"))
    result.logit_diffs_sae = analysisResult("logit_diffs_sae", infos, own, {
      ...emptyLatents("logit_diffs_sae"),
      ...active,
    });
  if (attributions !== undefined)
    result.logit_diffs_attr_grad = analysisResult("logit_diffs_attr_grad", infos, own, {
      ...active,
      attribution_values: Float32Array.from(
        active.row,
        (row, i) =>
          attributions[active.hook[i]!]!.data[row * infos[active.hook[i]!]!.width + active.latent[i]!] as number,
      ),
    });
  if (wants("logit_diffs_attr_ablation")) {
    const ablated = needsAblation ? await ablateAll(runs!) : noAblation(active.length);
    const diffs = values.diffs.data as Float32Array;
    result.logit_diffs_attr_ablation = analysisResult("logit_diffs_attr_ablation", infos, own, {
      ...active,
      attribution_values: Float32Array.from(active.row, (row, i) => diffs[row]! - ablated.diffs[i]!),
      ablated_logit_diff: ablated.diffs,
      ablated_loss: ablated.losses,
      ablated_pred: ablated.preds,
    });
  }
  return result;

  async function ablateAll(splicedRuns: readonly RunTree[]): Promise<AblatedValues> {
    const all = noAblation(active.length);
    let before = 0;
    for (const [h, { sae }] of targets.entries()) {
      const where = Array.from(active.hook.keys()).filter((i) => active.hook[i] === h);
      const pairs = {
        rows: Int32Array.from(where, (i) => active.row[i]!),
        latents: Int32Array.from(where, (i) => active.latent[i]!),
      };
      const setting: AblationSetting = { model, saes, target: sae, splice, kind: diff, signal: options.signal };
      const run: SplicedRun = { batch: tokens, answers, ...splicedRuns[h]! };
      const tell = (count: number): void => options.onAblation?.(before + count, active.length);
      const part = cone
        ? await ablateCone(setting, run, pairs, tell)
        : await ablateRows(setting, run, pairs, ablate === "all", tell);
      where.forEach((i, j) => {
        all.diffs[i] = part.diffs[j]!;
        all.losses[i] = part.losses[j]!;
        all.preds[i] = part.preds[j]!;
      });
      before += where.length;
    }
    return all;
  }
}

interface RunTree {
  readonly entering: Tensor | undefined;
  readonly keyValues: readonly (KeyValues | null)[];
  readonly sae: SplicedRun["sae"];
}

interface SplicedTree {
  readonly values: AnswerValues;
  readonly acts: readonly Tensor[];
  readonly attributions: readonly Tensor[] | undefined;
  readonly runs: readonly RunTree[] | undefined;
}

/** Values at the answer position, [batch, 1]. */
const valuesAt = (logits: Tensor, answers: AnswerLeaves, diff: DiffKind): AnswerValues =>
  answerValues(takeRows(logits, answers.index), answers, diff);

const noAblation = (size: number): { diffs: Float32Array; losses: Float32Array; preds: Int32Array } => ({
  diffs: new Float32Array(size),
  losses: new Float32Array(size),
  preds: new Int32Array(size),
});

/** The active (> 0) latents of all hooks, ordered by row, hook, latent. `row` is the row in the batch. */
function activeLatents(batch: AnalysisBatch, acts: readonly Tensor[]): LatentColumns & { row: Int32Array } {
  const found: [row: number, hook: number, latent: number, activation: number][] = [];
  for (let row = 0; row < batch.dims[0]; row++)
    acts.forEach((x, hook) => {
      const width = x.dims[2]!;
      const data = x.data as Float32Array;
      for (let latent = 0; latent < width; latent++) {
        const activation = data[row * width + latent]!;
        if (activation > 0) found.push([row, hook, latent, activation]);
      }
    });
  return {
    length: found.length,
    row: Int32Array.from(found, (f) => f[0]),
    example: Int32Array.from(found, (f) => batch.examples[f[0]]!),
    hook: Int32Array.from(found, (f) => f[1]),
    latent: Int32Array.from(found, (f) => f[2]),
    activation: Float32Array.from(found, (f) => f[3]),
  };
}

function exampleRows(
  batch: AnalysisBatch,
  index: readonly number[],
  answers: AnswerLeaves,
  values: AnswerValues,
  inputs: boolean,
): ExampleRow[] {
  const { classes } = answers;
  const [b, p] = batch.dims;
  return Array.from({ length: b }, (_, row) => ({
    example: batch.examples[row]!,
    batch: batch.index,
    label_ids: batch.answerIds[row * classes + batch.labels[row]!]!,
    orig_labels: batch.labels[row]!,
    answer_indices: index[row]!,
    loss: values.losses.data[row] as number,
    logit_diffs: values.diffs.data[row] as number,
    preds: values.preds.data[row] as number,
    answer_logits: Array.from({ length: classes }, (_, c) => values.logits.data[row * classes + c] as number),
    ...(inputs && {
      tokens: Array.from({ length: p }, (_, i) => batch.tokens[row * p + i]!).filter(
        (_, i) => batch.mask[row * p + i] === 1,
      ),
      ...(batch.prompts && { prompts: batch.prompts[row]! }),
    }),
  }));
}
