/** @file The family `sae`: spliced forward passes, alive latents, exact ablation. */
import { greater, mul, cast, squeeze, takeRows, unsqueeze, type Tensor } from "../../../graph/index.ts";
import type { HookTensors } from "../../tables/columns.ts";
import {
  ablateCone,
  ablateRows,
  emptyValues,
  isCausal,
  startOf,
  type AblationSetting,
  type SplicedEntry,
  type SplicedRun,
} from "../../engine/ablation.ts";
import { ablateGenerally } from "../../engine/generalAblation.ts";
import { answerLeaves } from "../../engine/answers.ts";
import type { Target } from "../../engine/targets.ts";
import { flow, known, maybe, type Flow, type Known, type Maybe } from "./known.ts";
import { defineOp, type Op, type OpContext } from "../op.ts";

/** Values at the answer positions: [batch, pos, …] → [batch, …]. */
export const atAnswer = (x: Tensor, answerIndices: Tensor): Tensor =>
  squeeze(takeRows(x, unsqueeze(answerIndices, 1)), 1);

/** The reported latents of a cache at the answer positions, [batch, width] each; points that the cache lacks are left out. */
export function latentsAtAnswer(cache: HookTensors, answerIndices: Tensor, targets: readonly Target[]): HookTensors {
  const names = targets.map(({ info }) => info.name).filter((name) => name in cache);
  return Object.fromEntries(names.map((name) => [name, atAnswer(cache[name]!, answerIndices)]));
}

type AliveInput = Maybe<Flow<"cache"> & Known<"alive_latents">> & Known<"answer_indices">;

/**
 * `get_alive_latents`: activations at the answer positions; those above 0 are alive. Latents that are there already are
 * kept; without a cache there are none.
 */
export const getAliveLatents: Op<AliveInput, Known<"alive_latents">> = defineOp({
  name: "get_alive_latents",
  description: "The latents that are active at the answer positions.",
  input: { ...maybe({ ...flow("cache"), ...known("alive_latents") }), ...known("answer_indices") },
  output: known("alive_latents"),
  run: ({ alive_latents, cache, answer_indices }, { targets }) => ({
    alive_latents: alive_latents ?? (cache === undefined ? {} : latentsAtAnswer(cache, answer_indices, targets)),
  }),
});

/** `model_fwd_w_cache_latent_models` (`model_cache_forward`): the model with all SAEs in place, and its activations. */
export const modelFwdWCacheLatentModels: Op<
  Maybe<Known<"answer_indices" | "alive_latents">>,
  Flow<"answer_logits" | "cache"> & Known<"answer_indices" | "alive_latents">
> = defineOp({
  name: "model_fwd_w_cache_latent_models",
  aliases: ["model_cache_forward"],
  description: "Logits and activations of the model with all SAEs spliced, and the alive latents.",
  input: maybe(known("answer_indices", "alive_latents")),
  output: { ...flow("answer_logits", "cache"), ...known("answer_indices", "alive_latents") },
  requires: ["saes"],
  run: ({ answer_indices = undefined, alive_latents }, context) => {
    const { logits, hooks } = context.forward({ spliced: true });
    const positions = answer_indices ?? context.positions;
    return {
      answer_logits: logits,
      cache: context.kept(hooks),
      answer_indices: positions,
      alive_latents: alive_latents ?? latentsAtAnswer(hooks, positions, context.targets),
    };
  },
});

/** Activations where the logit difference is positive, 0 elsewhere. */
export const whereCorrect = (alive: HookTensors, logitDiffs: Tensor): HookTensors => {
  const correct = unsqueeze(cast(greater(logitDiffs, 0), "float32"), 1); // [batch, 1]
  return Object.fromEntries(Object.entries(alive).map(([name, x]) => [name, mul(x, correct)]));
};

/** `latent_correct_acts` (`sae_correct_acts`): the activations of examples with a positive logit difference. */
export const latentCorrectActs: Op<
  Flow<"cache"> & Known<"answer_indices" | "logit_diffs">,
  Known<"correct_activations">
> = defineOp({
  name: "latent_correct_acts",
  aliases: ["sae_correct_acts"],
  description: "Activations at the answer positions of the examples with a positive logit difference.",
  input: { ...flow("cache"), ...known("answer_indices", "logit_diffs") },
  output: known("correct_activations"),
  requires: ["saes"],
  run: ({ cache, answer_indices, logit_diffs }, { targets }) => ({
    correct_activations: whereCorrect(latentsAtAnswer(cache, answer_indices, targets), logit_diffs),
  }),
});

/**
 * `model_ablation`: for each (example, active latent), the run with that latent set to 0 at the answer position. Exact:
 * causal models are run from the SAE on for the one position that changes, others in whole rows. With `ablateLatentFn`
 * that function says what stands in the latent's place, and whole batches are run, as where there are hooks.
 */
export const modelAblation: Op<
  Known<"answer_indices" | "orig_labels" | "alive_latents">,
  Known<"ablated_logit_diff" | "ablated_loss" | "ablated_pred">
> = defineOp({
  name: "model_ablation",
  description: "What the answers are with single active latents set to 0.",
  input: known("answer_indices", "orig_labels", "alive_latents"),
  output: known("ablated_logit_diff", "ablated_loss", "ablated_pred"),
  requires: ["saes"],
  perLatentPreds: true,
  run: async ({ answer_indices, orig_labels, alive_latents }, context) => {
    const { model, targets, tokens, batch, options, onAblation, hooks } = context;
    const { ablateLatentFn: ablate } = options;
    const everywhere = options.ablate === "all";
    // Hooks may do anything to any position: only a pass without them changes at one position alone.
    const hooked = (options.fwdHooks ?? []).length > 0 || model.newTrace({}).hooked;
    const way = ablate !== undefined || hooked ? "general" : !everywhere && isCausal(model) ? "cone" : "rows";
    const done = await context.realize({
      alive: alive_latents,
      index: answer_indices,
      labels: orig_labels,
      runs: targets.map((target) => runOf(target, answer_indices, way, context)),
    });
    const table = await context.latents(alive_latents);
    const answers = answerLeaves(tokens.batch, {
      ids: batch.answerIds,
      classes: batch.classes,
      labels: done.labels.toArray(),
      index: done.index.toArray(),
    });
    const all = emptyValues(table.length);
    let before = 0;
    for (const [h, { sae }] of targets.entries()) {
      const where = Array.from(table.hook.keys()).filter((i) => table.hook[i] === h);
      const pairs = {
        rows: Int32Array.from(where, (i) => table.row[i]!),
        latents: Int32Array.from(where, (i) => table.latent[i]!),
      };
      const { saes, splice, signal } = context;
      const setting: AblationSetting = {
        model,
        saes,
        target: sae,
        splice,
        kind: options.diff ?? "mean",
        signal,
        hooks,
      };
      const { entering, rest } = done.runs[h]!;
      const entry: SplicedEntry = { batch: tokens, answers, entering };
      const tell = (count: number): void => onAblation?.(before + count, table.length);
      const part =
        rest === undefined
          ? await ablateGenerally(setting, entry, pairs, { everywhere, ablate }, tell)
          : way === "cone"
            ? await ablateCone(setting, { ...entry, ...rest }, pairs, tell)
            : await ablateRows(setting, { ...entry, ...rest }, pairs, everywhere, tell);
      where.forEach((i, j) => {
        all.diffs[i] = part.diffs[j]!;
        all.losses[i] = part.losses[j]!;
        all.preds[i] = part.preds[j]!;
      });
      before += where.length;
    }
    return { ablated_logit_diff: all.diffs, ablated_loss: all.losses, ablated_pred: all.preds };
  },
});

/** How latents are ablated: one position, whole rows, or (for any function, under any hooks) whole batches. */
type Way = "cone" | "rows" | "general";

interface RunTree {
  readonly entering: Tensor | undefined;
  /** What ablation by zero needs beside. */
  readonly rest: Pick<SplicedRun, "keyValues" | "sae"> | undefined;
}

/** What of the spliced pass the ablation of one SAE's latents builds on. */
function runOf({ sae }: Target, answerIndices: Tensor, way: Way, { model, saes, forward }: OpContext): RunTree {
  const { hooks, output } = forward({ spliced: true });
  const pick = (x: Tensor): Tensor => (way === "cone" ? takeRows(x, unsqueeze(answerIndices, 1)) : x);
  const hook = (name: string): Tensor => pick(hooks[`${sae.hookNameOut}.${name}`]!);
  const { layer, tokens } = startOf({ model, saes, target: sae });
  const entering = tokens ? undefined : (output.entering[layer] ?? undefined);
  const rest = (): RunTree["rest"] => ({
    keyValues: way === "cone" ? output.keyValues.map((kv, l) => (l >= layer ? kv : null)) : [],
    sae: { input: hook("hook_sae_input"), acts: hook("hook_sae_acts_post"), output: hook("hook_sae_output") },
  });
  return { entering: entering && pick(entering), rest: way === "general" ? undefined : rest() };
}
