/** @file Ablation by any function: the spliced pass once for each latent, from the SAE's block on. */
import { and, broadcastTo, equal, leaf, range, takeRows, unsqueeze, where, type Tensor } from "../../graph/index.ts";
import type { Hook } from "../../model/hooks/hookPoint.ts";
import { forward } from "../../model/transformer/transformer.ts";
import {
  copyValue,
  emptyValues,
  realizeValues,
  splicesFrom,
  startOf,
  type AblatedValues,
  type AblationSetting,
  type Pairs,
  type SplicedEntry,
} from "./ablation.ts";
import { answerValues, int64 } from "./answers.ts";

/** Which latent is ablated, and where. Expressions: one graph serves all latents of an SAE. */
export interface AblatedLatent {
  /** The point, such as `blocks.9.attn.hook_z.hook_sae_acts_post`. */
  readonly hook: string;
  /** Its number, int64 []. */
  readonly latent: Tensor;
  /** The answer position of each row, int64 [batch]. */
  readonly positions: Tensor;
  /** True at the latent, at the answer position (with `ablate: "all"` at every position): bool [batch, pos, d_sae]. */
  readonly mask: Tensor;
}

/**
 * What stands in the place of a latent: from the activations of all latents [batch, pos, d_sae] those that the SAE
 * decodes instead. `(acts, { mask }) => where(mask, 0, acts)` is what is done without one.
 */
export type AblateLatentFn = (acts: Tensor, at: AblatedLatent) => Tensor;

/** Sets the latent to 0. */
const zero: AblateLatentFn = (acts, { mask }) => where(mask, 0, acts);

/**
 * Effects of ablating latents by a function, exactly: for each latent that a row names, the whole batch runs from the
 * SAE's block on with every hook in place, as in a spliced pass with one more hook at the latents.
 * @param everywhere the mask is true at all positions, or at the answer positions only
 */
export async function ablateGenerally(
  setting: AblationSetting,
  run: SplicedEntry,
  pairs: Pairs,
  { everywhere, ablate = zero }: { readonly everywhere: boolean; readonly ablate?: AblateLatentFn | undefined },
  onChunk: (done: number) => void,
): Promise<AblatedValues> {
  const byLatent = new Map<number, number[]>();
  pairs.latents.forEach((latent, i) => {
    const own = byLatent.get(latent);
    if (own === undefined) byLatent.set(latent, [i]);
    else own.push(i);
  });
  const result = emptyValues(pairs.latents.length);
  let done = 0;
  for (const [latent, places] of byLatent) {
    setting.signal?.throwIfAborted();
    const values = await oneLatent(setting, run, latent, everywhere, ablate);
    for (const i of places) copyValue(values, pairs.rows[i]!, result, i);
    onChunk((done += places.length));
  }
  return result;
}

async function oneLatent(
  setting: AblationSetting,
  { batch, answers, entering }: SplicedEntry,
  id: number,
  everywhere: boolean,
  ablate: AblateLatentFn,
): Promise<AblatedValues> {
  const { model, target, hooks = [] } = setting;
  const latent = leaf(int64([id]), [], { name: "ablated latent" });
  const hook = `${target.hookNameOut}.hook_sae_acts_post`;
  const ablation: Hook = (acts) => {
    const here = broadcastTo(equal(range(target.dSae), latent), acts.shape);
    const atAnswer = unsqueeze(equal(range(batch.pos), answers.index), 2); // [batch, pos, 1]
    const mask = everywhere ? here : and(here, broadcastTo(atAnswer, acts.shape));
    return ablate(acts, { hook, latent, positions: answers.index.reshape([batch.batch]), mask });
  };
  const start = startOf(setting);
  const trace = model.newTrace({
    // What fires below this block has done its part in the spliced run.
    hooks: [...hooks.map((entry) => ({ ...entry, permanent: true })), { filter: hook, hook: ablation }],
    splices: splicesFrom(setting, start, target.splice(setting.splice)),
  });
  const output = forward(
    model.parts(batch.largestPosition + 1),
    {
      tokens: start.tokens ? batch.tokens : undefined,
      positions: batch.positions,
      keyMask: batch.keyMask,
      emptyRows: batch.emptyRows,
      residual: entering, // [batch, pos, d_model]
      startAtLayer: start.layer,
      stopAtLayer: undefined,
    },
    trace,
  );
  trace.finish(true);
  return realizeValues(setting, answerValues(takeRows(output.logits!, answers.index), answers, setting.kind));
}
