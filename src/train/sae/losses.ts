/**
 * @file The losses of SAELens' training classes, as expressions over parameters and a batch of activations. Sums run over
 * features, means over tokens.
 */
import {
  add,
  cast,
  detach,
  div,
  exp,
  greater,
  matmul,
  mul,
  pow,
  relu,
  reshape,
  scatterAdd,
  slice,
  sqrt,
  sub,
  sum,
  takeAlong,
  tanh,
  topK,
  where,
  type Tensor,
} from "../../graph/index.ts";
import { normalizations, type OutputMap } from "../../sae/latents/normalize.ts";
import type { TrainedSaeConfig } from "./config.ts";
import { kinds, type TrainableArchitecture } from "./kinds.ts";
import { straightThroughJumpRelu, straightThroughStep } from "./straightThrough.ts";

/** Parameters by SAELens' names; {@link parameterShapes} says which an architecture has. */
export type TrainedParams = Readonly<Record<string, Tensor>>;

/** Latents that have not fired for long. */
export interface DeadLatents {
  /** float32 [d_sae], 1 where dead. */
  readonly mask: Tensor;
  /** float32 [groups]: how much the auxiliary loss of each group of latents counts, {@link auxiliaryScales}. */
  readonly scales: Tensor;
}

export interface SaeBatch {
  /** Activations [tokens, d_in]; the number of tokens is fixed. */
  readonly x: Tensor;
  /** What is to be reconstructed, [tokens, d_out]; `x` itself but for a transcoder. */
  readonly target: Tensor;
  /** The sparsity coefficient of this step, a scalar. */
  readonly coefficient: Tensor;
  /** Undefined where no latent is dead. */
  readonly dead?: DeadLatents | undefined;
}

export interface SaeLosses {
  readonly loss: Tensor;
  /** The terms of the loss, each a scalar, by SAELens' names. */
  readonly terms: Readonly<Record<string, Tensor>>;
  /** Pre-activations [tokens, d_sae], as ranked. */
  readonly pre: Tensor;
  /** Latents [tokens, d_sae]. */
  readonly acts: Tensor;
  /** [tokens, d_out] */
  readonly reconstruction: Tensor;
}

interface Work extends SaeBatch {
  readonly cfg: TrainedSaeConfig;
  readonly params: TrainedParams;
  readonly tokens: number;
  /** Normalised, without the decoder's bias: what meets the encoder. */
  readonly input: Tensor;
  readonly out: OutputMap;
  readonly norms: Tensor;
}

/** Latents, and what of them meets the decoder. */
interface Codes {
  readonly pre: Tensor;
  readonly acts: Tensor;
  /** Undefined: the latents themselves. */
  readonly decoded?: Tensor;
  /** Pre-activations that are not scaled, where they differ. */
  readonly plain?: Tensor;
}

interface Architecture {
  encode(work: Work): Codes;
  terms(work: Work, codes: Codes, reconstruction: Tensor): Record<string, Tensor>;
}

/** The width of W_dec's rows over which half are the latents that the auxiliary loss may use, per token. */
export const auxiliaryCount = ({ dIn }: TrainedSaeConfig): number => Math.floor(dIn / 2);

/** The groups of latents with an auxiliary loss of their own, as [from, to). */
export const auxiliaryGroups = (cfg: TrainedSaeConfig): readonly (readonly [number, number])[] =>
  cfg.useMatryoshkaAuxLoss && kinds[cfg.architecture].nests
    ? cfg.matryoshkaWidths.map((width, i) => [cfg.matryoshkaWidths[i - 1] ?? 0, width])
    : [[0, cfg.dSae]];

/** Few dead latents count less: min(dead / half of d_in, 1) for each group. */
export const auxiliaryScales = (cfg: TrainedSaeConfig, dead: ArrayLike<number>): Float32Array =>
  Float32Array.from(auxiliaryGroups(cfg), ([from, to]) => {
    let n = 0;
    for (let i = from; i < to; i++) n += dead[i]! > 0 ? 1 : 0;
    return Math.min(n / auxiliaryCount(cfg), 1);
  });

const square = (x: Tensor): Tensor => mul(x, x);
const perToken = (x: Tensor, { tokens }: Work): Tensor => div(sum(x), tokens);
const squaredError = (a: Tensor, b: Tensor, work: Work): Tensor => perToken(square(sub(a, b)), work);
const weighted = (x: Tensor, { coefficient }: Work): Tensor => mul(x, coefficient);

const project = ({ input, params }: Work): Tensor => matmul(input, params["W_enc"]!);
const biased = (work: Work): Tensor => add(project(work), work.params["b_enc"]!);

/** Σ_j x_j · ‖W_dec[j]‖ over all tokens: columns first, so that only sums meet the norms. */
const sumByNorm = (x: Tensor, { norms }: Work): Tensor => sum(mul(sum(x, 0), norms));

/** The p-norm of each token's latents; a latent at 0 has no derivative, as in PyTorch. */
function lpSparsity(acts: Tensor, work: Work): Tensor {
  const p = work.cfg.lpNorm;
  if (p === 1) return div(sumByNorm(acts, work), work.tokens);
  const some = greater(acts, 0);
  const powers = where(some, pow(where(some, mul(acts, work.norms), 1), p), 0);
  const total = sum(powers, -1);
  const positive = greater(total, 0);
  return perToken(where(positive, pow(where(positive, total, 1), 1 / p), 0), work);
}

function decode(latents: Tensor, { params, out, x, cfg }: Work): Tensor {
  const product = add(matmul(latents, params["W_dec"]!), params["b_dec"]!);
  const { scale, shift } = kinds[cfg.architecture].transcodes ? {} : out;
  const scaled = scale === undefined ? product : mul(product, scale);
  const shifted = shift === undefined ? scaled : add(scaled, shift);
  const skip = params["W_skip"];
  return skip === undefined ? shifted : add(shifted, matmul(x, skip, { transposeB: true }));
}

const standard: Architecture = {
  encode: (work) => {
    const pre = biased(work);
    return { pre, acts: relu(pre) };
  },
  terms: (work, { acts }) => ({ l1_loss: weighted(lpSparsity(acts, work), work) }),
};

const gated: Architecture = {
  encode: (work) => {
    const { b_gate, b_mag, r_mag } = work.params;
    const projection = project(work);
    const pre = add(mul(projection, exp(r_mag!)), b_mag!);
    return { pre, acts: where(greater(add(projection, b_gate!), 0), relu(pre), 0) };
  },
  terms: (work) => {
    const gate = relu(add(project(work), work.params["b_gate"]!));
    return {
      l1_loss: weighted(div(sumByNorm(gate, work), work.tokens), work),
      auxiliary_reconstruction_loss: squaredError(decode(gate, work), work.target, work),
    };
  },
};

const kernel = ({ cfg }: Work): { bandwidth: number; toInput: boolean } => ({
  bandwidth: cfg.jumpreluBandwidth,
  toInput: cfg.jumpreluSteToInput,
});

/** The sparsity losses of a JumpReLU, each summed over tokens. */
const jumpReluSparsity: {
  readonly [Mode in TrainedSaeConfig["jumpreluSparsityLossMode"]]: (work: Work, codes: Codes) => Tensor;
} = {
  step: (work, { pre }) => sum(straightThroughStep(pre, work.params["threshold"]!, kernel(work))),
  tanh: (work, { acts }) => sum(tanh(mul(mul(acts, work.norms), work.cfg.jumpreluTanhScale))),
  quadratic: (work, { pre }) => {
    const target = work.cfg.targetL0!;
    const l0 = sum(straightThroughStep(pre, work.params["threshold"]!, kernel(work)), -1);
    return mul(sum(square(sub(l0, target))), 2 / target);
  },
};

const jumprelu: Architecture = {
  encode: (work) => {
    const pre = biased(work);
    return { pre, acts: straightThroughJumpRelu(pre, work.params["threshold"]!, kernel(work)) };
  },
  terms: (work, codes): Record<string, Tensor> => {
    const { cfg, dead, params, norms, tokens } = work;
    const sparsity = jumpReluSparsity[cfg.jumpreluSparsityLossMode](work, codes);
    const l0_loss = weighted(div(sparsity, tokens), work);
    if (cfg.preActLossCoefficient === null) return { l0_loss };
    if (dead === undefined) return { l0_loss, pre_act_loss: mul(l0_loss, 0) };
    const missing = sum(relu(sub(params["threshold"]!, codes.pre)), 0); // [d_sae]
    const pre_act_loss = mul(sum(mul(mul(missing, dead.mask), norms)), cfg.preActLossCoefficient / tokens);
    return { l0_loss, pre_act_loss };
  },
};

/** Lower than any activation. */
const floor = -3e38;

/** One step's auxiliary loss of a group of latents: its strongest dead ones against what is not yet reconstructed. */
function auxiliaryLoss(work: Work, { pre, plain = pre }: Codes, reconstruction: Tensor, group: number): Tensor {
  const { cfg, params, dead, target } = work;
  const [from, to] = auxiliaryGroups(cfg)[group]!;
  const part = (x: Tensor, axis: number): Tensor => slice(x, axis, from, to);
  const isDead = greater(part(dead!.mask, 0), 0);
  const ranked = where(isDead, detach(part(pre, 1)), floor);
  const { values, indices } = topK(ranked, Math.min(auxiliaryCount(cfg), to - from), 1);
  const kept = where(greater(values, floor / 2), takeAlong(part(plain, 1), indices, 1), 0);
  const latents = scatterAdd(kept, indices, 1, to - from);
  const error = detach(sub(target, reconstruction));
  const loss = squaredError(matmul(latents, part(params["W_dec"]!, 0)), error, work);
  return mul(mul(loss, reshape(slice(dead!.scales, 0, group, group + 1), [])), cfg.auxLossCoefficient);
}

/** Pre-activations as they are ranked: times the norm of their decoder row, or as they are. */
function ranked(work: Work): { pre: Tensor; plain: Tensor } {
  const plain = biased(work);
  return { pre: work.cfg.rescaleActsByDecoderNorm ? mul(plain, work.norms) : plain, plain };
}

const noAuxiliaryLoss = (reconstruction: Tensor): Tensor => mul(sum(detach(reconstruction)), 0);

/** Scaling by the norm and dividing by it again cancel: what is decoded is the plain activation of the winners. */
const topk: Architecture = {
  encode: (work) => {
    const { pre, plain } = ranked(work);
    const { values, indices } = topK(detach(pre), work.cfg.k, 1);
    const put = (x: Tensor): Tensor => scatterAdd(relu(x), indices, 1, work.cfg.dSae);
    return { pre, plain, acts: put(values), decoded: put(takeAlong(plain, indices, 1)) };
  },
  terms: (work, codes, reconstruction) => ({
    auxiliary_reconstruction_loss:
      work.dead === undefined ? noAuxiliaryLoss(reconstruction) : auxiliaryLoss(work, codes, reconstruction, 0),
  }),
};

const batchtopk: Architecture = {
  ...topk,
  encode: (work) => {
    const { tokens, cfg } = work;
    const { pre, plain } = ranked(work);
    const flat = (x: Tensor): Tensor => reshape(x, [tokens * cfg.dSae]);
    const { values, indices } = topK(relu(flat(detach(pre))), batchTopKCount(cfg, tokens), 0);
    const put = (x: Tensor): Tensor => reshape(scatterAdd(relu(x), indices, 0, tokens * cfg.dSae), [tokens, cfg.dSae]);
    return { pre, plain, acts: put(values), decoded: put(takeAlong(flat(plain), indices, 0)) };
  },
};

/** Active latents of a whole batch. */
export const batchTopKCount = ({ k }: TrainedSaeConfig, tokens: number): number => Math.floor(k * tokens);

const matryoshka: Architecture = {
  ...batchtopk,
  terms: (work, codes, reconstruction) => {
    const { cfg, params, target, dead } = work;
    const widths = cfg.matryoshkaWidths;
    let decoded = params["b_dec"]!;
    const nested = widths.map((width, i) => {
      const from = widths[i - 1] ?? 0;
      decoded = add(matmul(slice(codes.decoded!, 1, from, width), slice(params["W_dec"]!, 0, from, width)), decoded);
      return decoded;
    });
    const inner = nested
      .slice(0, -1)
      .map((part, i): [string, Tensor] => [`inner_mse_loss_${widths[i]!}`, squaredError(part, target, work)]);
    const auxiliary =
      dead !== undefined && cfg.useMatryoshkaAuxLoss
        ? nested.map((part, group) => auxiliaryLoss(work, codes, part, group)).reduce((a, b) => add(a, b))
        : topk.terms(work, codes, reconstruction)["auxiliary_reconstruction_loss"]!;
    return { auxiliary_reconstruction_loss: auxiliary, ...Object.fromEntries(inner) };
  },
};

const architectures: { readonly [Name in TrainableArchitecture]: Architecture } = {
  standard,
  gated,
  jumprelu,
  topk,
  batchtopk,
  matryoshka_batchtopk: matryoshka,
  transcoder: standard,
  skip_transcoder: standard,
  jumprelu_transcoder: jumprelu,
  jumprelu_skip_transcoder: jumprelu,
};

/** The losses of one step. */
export function saeLosses(cfg: TrainedSaeConfig, params: TrainedParams, batch: SaeBatch): SaeLosses {
  const { x, target } = batch;
  const tokens = x.shape[0] as number;
  const { x: normalized, out } = normalizations[cfg.normalizeActivations].in(x, { d_in: cfg.dIn });
  const input = cfg.applyBDecToInput ? sub(normalized, params["b_dec"]!) : normalized;
  const norms = sqrt(sum(square(params["W_dec"]!), 1)); // [d_sae]
  const work: Work = { ...batch, cfg, params, tokens, input, out, norms };
  const architecture = architectures[cfg.architecture];
  const codes = architecture.encode(work);
  const reconstruction = decode(codes.decoded ?? codes.acts, work);
  const terms = {
    mse_loss: squaredError(reconstruction, target, work),
    ...architecture.terms(work, codes, reconstruction),
  };
  const loss = Object.values(terms).reduce((a, b) => add(a, b));
  return { loss, terms, pre: codes.pre, acts: codes.acts, reconstruction };
}

/** How many tokens each latent fired on, [d_sae]. */
export const firings = (acts: Tensor): Tensor => sum(cast(greater(acts, 0), "float32"), 0);
