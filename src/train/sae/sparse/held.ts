/** @file An SAE in the kernels' memory: parameters, gradients and Adam's moments; in SAELens' names and shapes outside it. */
import type { SaeArray, SaeArrays } from "../../../sae/index.ts";
import type { TrainedSaeConfig } from "../config.ts";
import { clipNorm, parameterShapes, transposed, type AdamMoments, type SaeLearner } from "../learner.ts";
import type { Floats, KernelMemory } from "./memory.ts";

const slots = ["parameter", "exp_avg", "exp_avg_sq"] as const;
const elements = (dims: readonly number[]): number => dims.reduce((n, size) => n * size, 1);

/** Lengths of what {@link holdSae} takes. */
export const heldCounts = (cfg: TrainedSaeConfig, tokens: number): number[] => [
  ...[...slots, "gradient"].flatMap(() => [...parameterShapes(cfg).values()].map(elements)),
  ...[cfg.dSae, cfg.dIn, cfg.dSae * (cfg.dIn + 1), tokens * (cfg.dIn + 1), tokens * cfg.dIn, tokens * cfg.dIn],
];

export interface HeldSae extends Pick<SaeLearner, "parameters" | "state" | "restore"> {
  readonly cfg: TrainedSaeConfig;
  /** W_enc lies as W_dec does, a row a latent. */
  parameter(name: string): Floats;
  gradient(name: string): Floats;
  /** Norms of the decoder's rows, [d_sae]. */
  readonly norms: Floats;
  /** d_in zeros. */
  readonly nothing: Floats;
  /** Activations without the decoder's bias, where it is applied to them, [tokens, d_in]. */
  readonly input: Floats;
  readonly target: Floats;
  /** The input, and a 1: [tokens, d_in + 1]. */
  readonly encoderInput: Floats;
  /** W_enc's rows, each with its bias, [d_sae, d_in + 1]; times the norms where latents are ranked by them. */
  readonly encoderWeights: Floats;
  take(x: Float32Array, target: Float32Array): void;
  /** A step of Adam over all parameters. */
  update(lr: number, gradientNorm: number): void;
}

/** @param start in SAELens' shapes @param ranksByNorm whether pre-activations are scaled by the norms of W_dec's rows */
export function holdSae(
  cfg: TrainedSaeConfig,
  start: SaeArrays,
  memory: KernelMemory,
  options: { tokens: number; adam: AdamMoments; ranksByNorm: boolean },
): HeldSae {
  const { dIn, dSae } = cfg;
  const { tokens, adam, ranksByNorm } = options;
  const { kernels } = memory;
  const row = 4 * dIn;
  const shapes = parameterShapes(cfg);
  const names = [...shapes.keys()];
  const held = new Map(
    [...slots, "gradient"].flatMap((slot) =>
      names.map((name): [string, Floats] => [`${slot}.${name}`, memory.floats(elements(shapes.get(name)!))]),
    ),
  );
  const at = (slot: string, name: string): Floats => held.get(`${slot}.${name}`)!;
  const [W_enc, W_dec, b_enc, b_dec] = ["W_enc", "W_dec", "b_enc", "b_dec"].map((name) => at("parameter", name)) as [
    Floats,
    Floats,
    Floats,
    Floats,
  ];
  const norms = memory.floats(dSae);
  const nothing = memory.floats(dIn);
  const encoderWeights = memory.floats(dSae * (dIn + 1));
  const encoderInput = memory.floats(tokens * (dIn + 1));
  const input = memory.floats(tokens * dIn);
  const target = memory.floats(tokens * dIn);
  let steps = 0;

  const stored = (name: string, array: SaeArray): SaeArray => (name === "W_enc" ? transposed(array) : array);
  const read = (slot: string, name: string): SaeArray => {
    const { data } = at(slot, name);
    if (name === "W_enc") return transposed({ dims: [dSae, dIn], data });
    return { dims: shapes.get(name)!, data: data.slice() };
  };
  /** What follows from the parameters: norms, and the encoder with its bias. */
  const follow = (): void => {
    for (let j = 0; j < dSae; j++) {
      const norm = Math.sqrt(kernels.squares(W_dec.at + j * row, dIn));
      const by = ranksByNorm ? norm : 1;
      norms.data[j] = norm;
      kernels.scaleAdd(encoderWeights.at + j * (row + 4), W_enc.at + j * row, by, nothing.at, dIn);
      encoderWeights.data[j * (dIn + 1) + dIn] = b_enc.data[j]! * by;
    }
  };
  for (const name of names) at("parameter", name).data.set(stored(name, start[name]!).data);
  follow();

  return {
    parameter: (name) => at("parameter", name),
    gradient: (name) => at("gradient", name),
    ...{ cfg, norms, nothing, input, target, encoderInput, encoderWeights },
    take: (x, wanted) => {
      input.data.set(x);
      target.data.set(wanted);
      for (let t = 0; t < tokens; t++) {
        const own = input.at + t * row;
        if (cfg.applyBDecToInput) kernels.scaleAdd(own, b_dec.at, -1, own, dIn);
        kernels.scaleAdd(encoderInput.at + t * (row + 4), own, 1, nothing.at, dIn);
        encoderInput.data[t * (dIn + 1) + dIn] = 1;
      }
    },
    update: (lr, gradientNorm) => {
      steps++;
      const [beta1, beta2] = adam.betas;
      const clip = Math.min(1, clipNorm / (gradientNorm + 1e-6));
      const stepSize = lr / (1 - beta1 ** steps);
      const rootScale = 1 / Math.sqrt(1 - beta2 ** steps);
      for (const name of names) {
        const [p, g, m, v] = ["parameter", "gradient", "exp_avg", "exp_avg_sq"].map((slot) => at(slot, name).at);
        const moments = [beta1, beta2, 1 - beta1, 1 - beta2] as const;
        kernels.adam(
          p!,
          g!,
          m!,
          v!,
          at("parameter", name).data.length,
          clip,
          ...moments,
          stepSize,
          rootScale,
          adam.eps,
        );
      }
      // Below 0 a gate would let negative pre-activations through.
      held.get("parameter.threshold")?.data.forEach((value, j, thresholds) => (thresholds[j] = Math.max(value, 0)));
      follow();
    },
    parameters: () => Object.fromEntries(names.map((name) => [name, read("parameter", name)])),
    state: () => ({
      tensors: Object.fromEntries(slots.flatMap((slot) => names.map((name) => [`${slot}.${name}`, read(slot, name)]))),
      steps,
    }),
    restore: (state) => {
      steps = state.steps;
      for (const slot of slots)
        for (const name of names) {
          const { data } = at(slot, name);
          const known = state.tensors[`${slot}.${name}`];
          if (known === undefined) data.fill(0);
          else data.set(stored(name, known).data);
        }
      follow();
    },
  };
}
