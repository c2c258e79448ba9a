/** @file How good SAEs are: reconstruction over all tokens, sparsity, and what splicing them costs the model. */
import { cast, greater, mul, reshape, sub, sum, type Tensor } from "../../graph/index.ts";
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { hookValues, tokenRowsOf } from "./source/modelSource.ts";
import { packer, type Documents, type TokenRow } from "./source/packing.ts";
import type { SaeTrainingOptions } from "./options.ts";

/** SAELens' numbers, by its formulas as corrected in 6.45. */
export interface SaeEvaluation {
  /** 1 − E‖x − x̂‖² / (E‖x‖² − ‖E x‖²), expectations over all tokens; x is what a transcoder stands for. */
  readonly explainedVariance: number;
  /** E‖x − x̂‖² */
  readonly mse: number;
  /** Latents above 0 per token. */
  readonly l0: number;
  /** How often each latent fires, [d_sae]. */
  readonly density: Float64Array;
  /** Mean next-token cross entropy: of the model, with the SAE in place, with zeros in its place. */
  readonly ceLoss: { readonly clean: number; readonly sae: number; readonly ablated: number };
  /** (ablated − sae) / (ablated − clean) */
  readonly ceScore: number;
}

/**
 * Evaluates an SAE or a transcoder on documents: activations as in training, the model's loss with it spliced in.
 * @param options those of the training: how documents become rows, which positions count, `nEvalBatches` forward passes
 * @example
 * const options = parseSaeTrainingOptions({ contextSize: 4, storeBatchSizePrompts: 2, nEvalBatches: 1 });
 * const { explainedVariance, l0 } = await evaluateSae(model, saes[0]!, () => prompts, options);
 */
export async function evaluateSae(
  model: HookedModel,
  sae: LatentModel,
  documents: Documents,
  options: SaeTrainingOptions,
): Promise<SaeEvaluation> {
  const { dSae, hookNameOut: name, dOut: width } = sae;
  const rows = packer(documents, model.hasTokenizer ? model.tokenizer : undefined, options);
  const tokenRows = tokenRowsOf(model, options);
  const density = new Float64Array(dSae);
  const means = new Float64Array(width);
  const ce = { clean: 0, sae: 0, ablated: 0 };
  let [tokens, error, squares, passes] = [0, 0, 0, 0];
  const spliced = model.splice([sae]);
  for (; passes < options.nEvalBatches; passes++) {
    const taken: TokenRow[] = [];
    while (taken.length < options.storeBatchSizePrompts) taken.push(await rows.next());
    const { batch, counts } = tokenRows(taken);
    const flat = (x: Tensor): Tensor => reshape(hookValues({ x }, ["x"])["x"]!, [-1, width]);
    const clean = await model.run(batch, ({ loss, hooks }) => ({ loss, x: flat(hooks[name]!) }), { capture: [name] });
    const inner = { acts: `${name}.hook_sae_acts_post`, out: `${name}.hook_sae_output` };
    const with_ = await spliced.run(
      batch,
      ({ loss, hooks }) => {
        const miss = sub(flat(hooks[inner.out]!), clean.x);
        const acts = reshape(hooks[inner.acts]!, [-1, dSae]);
        return { loss, error: sum(mul(miss, miss), 1), active: cast(greater(acts, 0), "uint8") };
      },
      { capture: Object.values(inner) },
    );
    const ablated = await model.run(batch, ({ loss }) => loss, { hooks: [[name, (value) => mul(value, 0)]] });
    ce.clean += clean.loss.item();
    ce.sae += with_.loss.item();
    ce.ablated += ablated.item();
    const [x, active, missed] = [clean.x.data, with_.active.data, with_.error.data] as [
      Float32Array,
      Uint8Array,
      Float32Array,
    ];
    counts.forEach((counted, t) => {
      if (counted === 0) return;
      tokens++;
      error += missed[t]!;
      for (let c = 0; c < width; c++) {
        const value = x[t * width + c]!;
        means[c]! += value;
        squares += value * value;
      }
      for (let j = 0; j < dSae; j++) density[j]! += active[t * dSae + j]!;
    });
  }
  await rows.close();
  const variance = squares / tokens - means.reduce((total, m) => total + (m / tokens) ** 2, 0);
  const ceLoss = { clean: ce.clean / passes, sae: ce.sae / passes, ablated: ce.ablated / passes };
  return {
    explainedVariance: 1 - error / tokens / variance,
    mse: error / tokens,
    l0: density.reduce((a, b) => a + b, 0) / tokens,
    density: density.map((n) => n / tokens),
    ceLoss,
    ceScore: (ceLoss.ablated - ceLoss.sae) / (ceLoss.ablated - ceLoss.clean),
  };
}
