/** @file Parameters before the first step. */
import { uniformAt } from "../../graph/index.ts";
import type { SaeArray, SaeArrays } from "../../sae/index.ts";
import type { TrainedSaeConfig } from "./config.ts";
import { parameterShapes, transposed } from "./learner.ts";

/**
 * A decoder drawn from a seed as PyTorch's `kaiming_uniform_` does, its rows rescaled to `decoderInitNorm`; the encoder is
 * its transpose where the widths allow it; biases are 0 and thresholds `jumpreluInitThreshold`.
 */
export function initialParameters(cfg: TrainedSaeConfig, seed: number): SaeArrays {
  const { decoderInitNorm, dIn, dOut } = cfg;
  let drawn = 0;
  const kaiming = ([rows, columns]: readonly [number, number]): SaeArray => {
    // PyTorch's fan-in is the second axis, and its gain √2.
    const bound = Math.sqrt(6 / columns);
    const at = drawn;
    drawn += rows * columns;
    const data = Float32Array.from({ length: rows * columns }, (_, i) => bound * (2 * uniformAt(seed, at + i) - 1));
    return { dims: [rows, columns], data };
  };
  const parameters: Record<string, SaeArray> = {};
  for (const [name, dims] of parameterShapes(cfg))
    parameters[name] = { dims, data: new Float32Array(dims.reduce((a, b) => a * b, 1)) };
  parameters["threshold"]?.data.fill(cfg.jumpreluInitThreshold);
  const W_dec = kaiming([cfg.dSae, dOut]);
  if (decoderInitNorm !== null) rescaleRows(W_dec, decoderInitNorm);
  parameters["W_dec"] = W_dec;
  parameters["W_enc"] = decoderInitNorm !== null && dIn === dOut ? transposed(W_dec) : kaiming([dIn, cfg.dSae]);
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
