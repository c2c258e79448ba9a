/** @file Which latents are active: the encoder and TopK in ONNX Runtime, a batch's threshold on the host. */
import {
  add,
  axis,
  greater,
  leaf,
  matmul,
  max,
  placeholder,
  reshape,
  slice,
  takeAlong,
  topK,
  unsqueeze,
  where,
  type Tensor,
} from "../../../graph/index.ts";
import type { CompiledFunction, Runtime } from "../../../runtime/index.ts";
import type { TrainedSaeConfig } from "../config.ts";
import { kinds } from "../kinds.ts";
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
  winners(dead: Float32Array | undefined): Promise<Winners>;
  dispose(): Promise<void>;
}

export interface EncoderInput {
  /** Inputs without the decoder's bias, and a 1: [tokens, d_in + 1]. */
  readonly x: Floats;
  /** Encoder columns as rows, each with its bias, times the norms that latents are ranked by: [d_sae, d_in + 1]. */
  readonly weights: Floats;
}

/** Lower than any activation. */
export const floor = -3e38;

/** Tokens of one product: its pre-activations are read again while they are still near. */
const chunk = 512;

type Compiled = CompiledFunction<"x" | "dead", { readonly values: Tensor; readonly indices: Tensor }[]>;

/**
 * The largest entries of each row. Rows are first cut to the groups with the largest maxima: `count` groups hold the
 * `count` largest entries, and a maximum over many is far cheaper than a sorted selection.
 */
function strongest(pre: Tensor, count: number, size: number): { values: Tensor; indices: Tensor } {
  const each = [16, 8, 4].find((n) => size % n === 0 && size / n >= 4 * count);
  if (each === undefined) return topK(pre, count, 1);
  const groups = size / each;
  const maxima = max(reshape(pre, [pre.shape[0]!, each, groups]), 1); // [tokens, groups]
  const chosen = unsqueeze(topK(maxima, count, 1).indices, 1); // [tokens, 1, count]
  const starts = leaf(
    BigInt64Array.from({ length: each }, (_, i) => BigInt(i * groups)),
    [each, 1],
  );
  const places = reshape(add(chosen, starts), [pre.shape[0]!, each * count]);
  const { values, indices } = topK(takeAlong(pre, places, 1), count, 1);
  return { values, indices: takeAlong(places, indices, 1) };
}

export function encoder(cfg: TrainedSaeConfig, input: EncoderInput, tokens: number, runtime: Runtime): Encoder {
  const { dIn, dSae } = cfg;
  const weights = leaf(input.weights.data, [dSae, dIn + 1], { name: "encoder" });
  const compiled = new Map<string, Promise<Compiled>>();

  const compile = (each: number, withDead: boolean): Promise<Compiled> => {
    const key = `${each} ${withDead}`;
    let known = compiled.get(key);
    if (known !== undefined) return known;
    const inputs = {
      x: placeholder([axis("tokens"), dIn + 1], "float32", "x"),
      dead: placeholder([dSae], "float32", "dead"),
    };
    known = runtime.compile(inputs, ({ x, dead }) => {
      const pre = matmul(x, weights, { transposeB: true }); // [tokens, d_sae]
      const found = [strongest(pre, each, dSae)];
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
  const run = async (dead: Float32Array | undefined, each: number): Promise<Candidates[]> => {
    const call = await compile(each, dead !== undefined);
    const all: Candidates[] = [];
    for (let from = 0; from < tokens; from += chunk) {
      const rows = Math.min(chunk, tokens - from);
      const data = input.x.data.subarray(from * (dIn + 1), (from + rows) * (dIn + 1));
      const found = await call({ x: { dims: [rows, dIn + 1], data }, dead: { dims: [dSae], data: dead ?? nobody } });
      found.forEach(({ values, indices }, i) => {
        const own = values.dims[1]!;
        all[i] ??= { each: own, values: new Float32Array(tokens * own), words: new Uint32Array(2 * tokens * own) };
        const { buffer, byteOffset, length } = indices.data as BigInt64Array;
        all[i].values.set(values.data as Float32Array, from * own);
        all[i].words.set(new Uint32Array(buffer, byteOffset, 2 * length), 2 * from * own);
      });
    }
    return all;
  };

  /** How many candidates a token has, for a batch's TopK: more where a batch needed more. */
  let each = Math.min(dSae, kinds[cfg.architecture].ranks === "token" ? cfg.k : Math.ceil(3 * cfg.k));
  return {
    winners: async (dead) => {
      for (;;) {
        const [main, ...others] = await run(dead, each);
        if (kinds[cfg.architecture].ranks === "token")
          return { main: main!, threshold: floor, ties: Infinity, dead: others };
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
