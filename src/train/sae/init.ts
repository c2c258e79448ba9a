/** @file Parameters before the first step. */
import { uniformAt } from "../../graph/index.ts";
import type { SaeArray, SaeArrays } from "../../sae/index.ts";
import type { TrainedSaeConfig } from "./config.ts";
import { parameterShapes, transposed } from "./learner.ts";

/** A matrix drawn as PyTorch's `kaiming_uniform_` does: fan-in is the second axis, the gain √2; from the `from`th number on. */
export function kaimingUniform([rows, columns]: readonly [number, number], seed: number, from = 0): SaeArray {
  const bound = Math.sqrt(6 / columns);
  const data = Float32Array.from({ length: rows * columns }, (_, i) => bound * (2 * uniformAt(seed, from + i) - 1));
  return { dims: [rows, columns], data };
}

/**
 * A decoder drawn from a seed as PyTorch's `kaiming_uniform_` does, its rows rescaled to `decoderInitNorm`; the encoder is
 * its transpose where the widths allow it; biases are 0 and thresholds `jumpreluInitThreshold`.
 */
export function initialParameters(cfg: TrainedSaeConfig, seed: number): SaeArrays {
  const { decoderInitNorm, dIn, dOut } = cfg;
  const parameters: Record<string, SaeArray> = {};
  for (const [name, dims] of parameterShapes(cfg))
    parameters[name] = { dims, data: new Float32Array(dims.reduce((a, b) => a * b, 1)) };
  parameters["threshold"]?.data.fill(cfg.jumpreluInitThreshold);
  const W_dec = kaimingUniform([cfg.dSae, dOut], seed);
  if (decoderInitNorm !== null) rescaleRows(W_dec, decoderInitNorm);
  parameters["W_dec"] = W_dec;
  parameters["W_enc"] =
    decoderInitNorm !== null && dIn === dOut
      ? transposed(W_dec)
      : kaimingUniform([dIn, cfg.dSae], seed, W_dec.data.length);
  return parameters;
}

function rescaleRows({ dims, data }: SaeArray, norm: number): void {
  const width = dims[1]!;
  for (let at = 0; at < data.length; at += width) {
    const row = data.subarray(at, at + width);
    const scale = norm / Math.sqrt(row.reduce((sum, w) => sum + w * w, 0));
    row.forEach((w, i) => (row[i] = w * scale));
  }
}
