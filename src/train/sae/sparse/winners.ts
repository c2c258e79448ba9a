/** @file Which latents are active: the encoder and TopK in ONNX Runtime, a batch's threshold on the host. */
import {
  add,
  greater,
  leaf,
  matmul,
  mul,
  placeholder,
  slice,
  sub,
  topK,
  unsqueeze,
  where,
} from "../../../graph/index.ts";
import type { CompiledFunction, Runtime } from "../../../runtime/index.ts";
import type { Tensor } from "../../../graph/index.ts";
import { isTranscoder, type TrainedSaeConfig } from "../config.ts";
import { auxiliaryCount, auxiliaryGroups, batchTopKCount } from "../losses.ts";
import type { Floats } from "./memory.ts";

/** For each token its strongest latents, as ranked: [tokens, each]. */
export interface Candidates {
  readonly each: number;
  readonly values: Float32Array;
  /** int64 as pairs of 32-bit words, the lower one first. */
  readonly words: Uint32Array;
}

export interface Winners {
  readonly main: Candidates;
  /** Latents below this are not active. */
  readonly threshold: number;
  /** How many of those that equal the threshold are active. */
  readonly ties: number;
  /** Of each group of latents with dead ones, its strongest dead ones. */
  readonly dead: readonly Candidates[];
}

export interface Encoder {
  /** @param dead [d_sae], 1 where dead; undefined where none is */
  winners(x: Float32Array, dead: Float32Array | undefined): Promise<Winners>;
  dispose(): Promise<void>;
}

export interface EncoderParams {
  /** [d_sae, d_in], W_enc with its axes exchanged. */
  readonly W_enc: Floats;
  readonly b_enc: Floats;
  readonly b_dec: Floats;
  /** Norms of the decoder's rows, all 1 where latents are not ranked by them. */
  readonly norms: Floats;
}

/** Lower than any activation. */
export const floor = -3e38;

type Compiled = CompiledFunction<"x" | "dead", { readonly values: Tensor; readonly indices: Tensor }[]>;

const candidates = ({ values, indices }: { values: Tensor; indices: Tensor }): Candidates => {
  const { buffer, byteOffset, length } = indices.data as BigInt64Array;
  return {
    each: values.dims[1]!,
    values: values.data as Float32Array,
    words: new Uint32Array(buffer, byteOffset, 2 * length),
  };
};

export function encoder(cfg: TrainedSaeConfig, params: EncoderParams, tokens: number, runtime: Runtime): Encoder {
  const { dIn, dSae } = cfg;
  const W_enc = leaf(params.W_enc.data, [dSae, dIn], { name: "W_enc" });
  const b_enc = leaf(params.b_enc.data, [dSae], { name: "b_enc" });
  const b_dec = leaf(params.b_dec.data, [cfg.dOut], { name: "b_dec" });
  const norms = leaf(params.norms.data, [dSae], { name: "norms" });
  const compiled = new Map<string, Promise<Compiled>>();

  const compile = (each: number, withDead: boolean): Promise<Compiled> => {
    const key = `${each} ${withDead}`;
    let known = compiled.get(key);
    if (known !== undefined) return known;
    const inputs = { x: placeholder([tokens, dIn], "float32", "x"), dead: placeholder([dSae], "float32", "dead") };
    known = runtime.compile(inputs, ({ x, dead }) => {
      const input = cfg.applyBDecToInput && !isTranscoder(cfg.architecture) ? sub(x, b_dec) : x;
      // The norms meet the weights, not the many pre-activations.
      const weights = cfg.rescaleActsByDecoderNorm ? mul(W_enc, unsqueeze(norms, 1)) : W_enc;
      const biases = cfg.rescaleActsByDecoderNorm ? mul(b_enc, norms) : b_enc;
      const pre = add(matmul(input, weights, { transposeB: true }), biases);
      const found = [topK(pre, each, 1)];
      if (withDead)
        for (const [from, to] of auxiliaryGroups(cfg)) {
          const ranked = where(greater(slice(dead, 0, from, to), 0), slice(pre, 1, from, to), floor);
          found.push(topK(ranked, Math.min(auxiliaryCount(cfg), to - from), 1));
        }
      return found;
    });
    compiled.set(key, known);
    return known;
  };

  const nobody = new Float32Array(dSae);
  const run = async (x: Float32Array, dead: Float32Array | undefined, each: number): Promise<Candidates[]> => {
    const call = await compile(each, dead !== undefined);
    const found = await call({ x: { dims: [tokens, dIn], data: x }, dead: { dims: [dSae], data: dead ?? nobody } });
    return found.map(candidates);
  };

  /** How many candidates a token has, for a batch's TopK: more where a batch needed more. */
  let each = Math.min(dSae, cfg.architecture === "topk" ? cfg.k : Math.ceil(3 * cfg.k));
  return {
    winners: async (x, dead) => {
      for (;;) {
        const [main, ...others] = await run(x, dead, each);
        if (cfg.architecture === "topk") return { main: main!, threshold: floor, ties: Infinity, dead: others };
        const { threshold, ties } = largest(main!.values, batchTopKCount(cfg, tokens));
        if (each === dSae || !truncated(main!, threshold)) return { main: main!, threshold, ties, dead: others };
        each = Math.min(dSae, 2 * each);
      }
    },
    dispose: async () => {
      for (const made of compiled.values()) await (await made).dispose();
      compiled.clear();
    },
  };
}

/** Whether a token may have latents above the threshold beyond its candidates. */
function truncated({ each, values }: Candidates, threshold: number): boolean {
  for (let last = each - 1; last < values.length; last += each)
    if (values[last]! > 0 && values[last]! >= threshold) return true;
  return false;
}

/** The `count`-th largest of the positive values, and how many that equal it are among the `count` largest. */
export function largest(values: Float32Array, count: number): { threshold: number; ties: number } {
  // The bits of positive floats are in the order of the floats: first by their upper halves, then exactly.
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const counts = new Uint32Array(32768);
  for (let i = 0; i < bits.length; i++) if (bits[i]! > 0) counts[bits[i]! >> 16]!++;
  let above = 0;
  let upper = 32767;
  for (; upper >= 0 && above + counts[upper]! < count; upper--) above += counts[upper]!;
  if (upper < 0) return { threshold: 0, ties: 0 };
  const inside: number[] = [];
  for (let i = 0; i < bits.length; i++) if (bits[i]! > 0 && bits[i]! >> 16 === upper) inside.push(values[i]!);
  inside.sort((a, b) => b - a);
  const threshold = inside[count - above - 1]!;
  return { threshold, ties: count - above - inside.filter((value) => value > threshold).length };
}
