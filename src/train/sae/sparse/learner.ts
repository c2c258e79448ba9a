/**
 * @file Training of top-k SAEs where only active latents are touched: the encoder is one product, everything after it
 * gathers rows. The decoder's product, the latents' derivatives and the weights' are sums over (token, active latent)
 * pairs, as Gao et al. 2024 (arXiv 2406.04093) do on GPUs.
 */
import type { Runtime } from "../../../runtime/index.ts";
import type { SaeArrays } from "../../../sae/index.ts";
import { TrainError } from "../../errors.ts";
import type { TrainedSaeConfig } from "../config.ts";
import { kinds } from "../kinds.ts";
import type { AdamMoments, SaeLearner, SaeStepInput, SaeStepResult } from "../learner.ts";
import { auxiliaryCount, auxiliaryGroups, auxiliaryScales, batchTopKCount } from "../losses.ts";
import { heldCounts, holdSae } from "./held.ts";
import { fitsMemory, kernelMemory, memoryBytes } from "./memory.ts";
import { weightGradients } from "./pairs.ts";
import { encoder, floor, type Candidates } from "./winners.ts";

/** Pairs of tokens with latents whose decoded sum is compared with something: one reconstruction. */
interface Layer {
  /** Latents [from, to). */
  readonly from: number;
  readonly to: number;
  /** The layer whose reconstruction it adds to; −1: the decoder's bias. */
  readonly parent: number;
  /** Whether it learns what its parent misses, without changing it. */
  readonly auxiliary: boolean;
  /** What its squared error is called. */
  readonly term: string;
}

/** The reconstructions of an architecture: nested widths, each on top of the one before, and auxiliary ones. */
function layersOf(cfg: TrainedSaeConfig): Layer[] {
  const widths = kinds[cfg.architecture].nests ? cfg.matryoshkaWidths : [cfg.dSae];
  const main = widths.map((to, i): Layer => ({
    from: widths[i - 1] ?? 0,
    to,
    parent: i - 1,
    auxiliary: false,
    term: i === widths.length - 1 ? "mse_loss" : `inner_mse_loss_${to}`,
  }));
  const groups = auxiliaryGroups(cfg);
  return [
    ...main,
    ...groups.map(([from, to], i): Layer => {
      const parent = groups.length === 1 ? main.length - 1 : i;
      return { from, to, parent, auxiliary: true, term: "auxiliary_reconstruction_loss" };
    }),
  ];
}

/** Lengths of everything that lies in the kernels' memory. */
function roomOf(cfg: TrainedSaeConfig, tokens: number): { pairs: number; counts: number[] } {
  const layers = layersOf(cfg);
  const auxiliary = layers.filter((layer) => layer.auxiliary);
  const strongest = auxiliary.reduce((sum, { from, to }) => sum + Math.min(auxiliaryCount(cfg), to - from), 0);
  const pairs = batchTopKCount(cfg, tokens) + tokens * strongest;
  const missed = layers.length * tokens * cfg.dIn;
  return { pairs, counts: [...heldCounts(cfg, tokens), missed, ...Array.from({ length: 6 }, () => pairs)] };
}

/** Whether an SAE can be trained by gathering: widths of whole vectors, and all of it within reach of the kernels. */
export const trainsSparsely = (cfg: TrainedSaeConfig, tokens: number): boolean =>
  kinds[cfg.architecture].ranks !== undefined &&
  cfg.dIn % 4 === 0 &&
  cfg.dSae % 4 === 0 &&
  fitsMemory(roomOf(cfg, tokens).counts);

/** @param start in SAELens' shapes */
export async function sparseLearner(
  cfg: TrainedSaeConfig,
  start: SaeArrays,
  options: { tokens: number; runtime: Runtime; adam: AdamMoments },
): Promise<SaeLearner> {
  const { tokens, runtime, adam } = options;
  const { dIn, dSae } = cfg;
  const layers = layersOf(cfg);
  const room = roomOf(cfg, tokens);
  const memory = await kernelMemory(memoryBytes(room.counts));
  const { kernels } = memory;
  const row = 4 * dIn;

  const ranksByNorm = cfg.rescaleActsByDecoderNorm;
  const held = holdSae(cfg, start, memory, { tokens, adam, ranksByNorm });
  const { target, norms, nothing } = held;
  const [W_dec, b_dec] = [held.parameter("W_dec"), held.parameter("b_dec")];
  /** [layers, tokens, d_in]: what a layer misses, then the loss's derivative by its reconstruction. */
  const missed = memory.floats(layers.length * tokens * dIn);
  const latents = memory.integers(room.pairs);
  const values = memory.floats(room.pairs);
  const slopes = memory.floats(room.pairs);
  const places = memory.integers(room.pairs);
  const inputs = memory.integers(room.pairs);
  const order = memory.integers(room.pairs);
  /** Where the pairs of each token begin, by layer. */
  const begins = layers.map(() => new Uint32Array(tokens + 1));
  const encode = encoder(cfg, { x: held.encoderInput, weights: held.encoderWeights }, tokens, runtime);

  /** The pairs of all layers; returns how many, and what the active latents are like. */
  function collect(
    found: Awaited<ReturnType<typeof encode.winners>>,
    fired: Float32Array,
  ): { pairs: number; smallest: number } {
    let pairs = 0;
    let smallest = Infinity;
    let { ties } = found;
    const add = (latent: number, value: number): void => {
      latents.data[pairs] = latent;
      values.data[pairs++] = ranksByNorm ? value / norms.data[latent]! : value;
    };
    // A tie at the threshold is decided once, for the first tokens, whatever layer the latent is in.
    const { each, values: ranked, words } = found.main;
    const active = new Uint8Array(ranked.length);
    for (let i = 0; i < ranked.length; i++) {
      const value = ranked[i]!;
      if (!(value > 0) || value < found.threshold || (value === found.threshold && ties-- <= 0)) continue;
      active[i] = 1;
      fired[words[2 * i]!]!++;
      if (value < smallest) smallest = value;
    }
    let group = 0;
    layers.forEach(({ from, to, auxiliary }, l) => {
      const candidates: Candidates | undefined = auxiliary ? found.dead[group++] : found.main;
      for (let t = 0; t < tokens; t++) {
        begins[l]![t] = pairs;
        if (candidates === undefined) continue;
        const width = auxiliary ? candidates.each : each;
        for (let i = t * width; i < (t + 1) * width; i++) {
          const latent = auxiliary ? from + candidates.words[2 * i]! : words[2 * i]!;
          if (auxiliary ? candidates.values[i]! > floor / 2 : active[i] === 1 && latent >= from && latent < to)
            add(latent, auxiliary ? candidates.values[i]! : ranked[i]!);
        }
      }
      begins[l]![tokens] = pairs;
    });
    return { pairs, smallest };
  }

  /** Reconstructions, errors and the derivatives of latents; returns the loss's terms. */
  function decode(scales: Float32Array | undefined): Record<string, number> {
    const sums = layers.map(() => 0);
    let group = 0;
    const weights = layers.map(({ auxiliary }) => (auxiliary ? cfg.auxLossCoefficient * (scales?.[group++] ?? 0) : 1));
    const used = layers.map((_, l) => l).filter((l) => weights[l]! > 0);
    const place = (l: number, t: number): number => missed.at + (l * tokens + t) * row;
    const bias = held.gradient("b_dec");
    bias.data.fill(0);
    for (let t = 0; t < tokens; t++) {
      const x = target.at + t * row;
      // What the bias alone misses stands in the first layer's place until that layer is added to it.
      for (const l of used) {
        const { parent } = layers[l]!;
        const begin = begins[l]![t]!;
        const pairs = begins[l]![t + 1]! - begin;
        if (parent < 0) kernels.scaleAdd(place(l, t), x, -1, b_dec.at, dIn);
        const base = parent < 0 ? place(l, t) : place(parent, t);
        sums[l]! += kernels.addRows(
          place(l, t),
          base,
          W_dec.at,
          latents.at + 4 * begin,
          values.at + 4 * begin,
          pairs,
          dIn,
        );
      }
      // From the outermost in: a nested width is also part of every wider one.
      let wider = nothing.at;
      for (const l of used.toReversed()) {
        const own = place(l, t);
        const { auxiliary } = layers[l]!;
        kernels.scaleAdd(own, own, (2 * weights[l]!) / tokens, auxiliary ? nothing.at : wider, dIn);
        if (!auxiliary) wider = own;
        const begin = begins[l]![t]!;
        kernels.dotRows(slopes.at + 4 * begin, own, W_dec.at, latents.at + 4 * begin, begins[l]![t + 1]! - begin, dIn);
      }
      kernels.addScaled(bias.at, place(0, t), 1, dIn);
    }
    const terms: Record<string, number> = { mse_loss: 0, auxiliary_reconstruction_loss: 0 };
    layers.forEach(({ term }, l) => (terms[term] = (terms[term] ?? 0) + (weights[l]! * sums[l]!) / tokens));
    return terms;
  }

  /** Derivatives of the weights, latent by latent; returns the square of the norm of all gradients. */
  function weigh(pairs: number): number {
    layers.forEach((_, l) => {
      for (let t = 0; t < tokens; t++)
        for (let p = begins[l]![t]!; p < begins[l]![t + 1]!; p++) {
          places.data[p] = l * tokens + t;
          inputs.data[p] = t;
        }
    });
    const own = { count: pairs, latents, places, tokens: inputs, values, slopes, missed, order };
    return weightGradients(kernels, held, own);
  }

  return {
    step: async ({ x, target: wanted, lr, dead: given }: SaeStepInput): Promise<SaeStepResult> => {
      const dead = cfg.auxLossCoefficient > 0 ? given : undefined;
      held.take(x, wanted);
      const found = await encode.winners(dead);
      const fired = new Float32Array(dSae);
      const { pairs, smallest } = collect(found, fired);
      const terms = decode(dead && auxiliaryScales(cfg, dead));
      const loss = Object.values(terms).reduce((a, b) => a + b, 0);
      const gradientNorm = Math.sqrt(weigh(pairs));
      if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm))
        throw new TrainError("the loss is not finite; the parameters are as they were before this step", {
          code: "train/not-finite",
          received: `loss ${loss}, norm of the gradients ${gradientNorm}`,
        });
      held.update(lr, gradientNorm);
      return {
        loss,
        terms,
        gradientNorm,
        fired,
        touched: pairs,
        smallest: smallest === Infinity ? undefined : smallest,
      };
    },
    parameters: held.parameters,
    state: held.state,
    restore: held.restore,
    dispose: () => encode.dispose(),
  };
}
