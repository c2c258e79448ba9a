/** @file LayerNorm and RMSNorm with their two hook points each. */
import { add, div, mean, mul, pow, sqrt, sub } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { ModelConfig } from "../config.ts";
import type { Trace } from "../hooks/trace.ts";

/** What the parts of a block need to know about it. */
export interface BlockContext {
  readonly name: string;
  readonly layer: number;
  readonly cfg: ModelConfig;
  readonly trace: Trace;
  /** A parameter of this block; an absent one is an error unless `required` is false. */
  readonly weight: { (name: string, required: false): Tensor | undefined; (name: string): Tensor };
}

/**
 * `x / scale · w + b`. `hook_scale` is √(mean square + eps) after centring (LN) or without it (RMS); `hook_normalized`
 * is taken before the weight and the bias.
 */
export function normalize(
  x: Tensor,
  { name, cfg, trace, weight }: Pick<BlockContext, "name" | "cfg" | "trace" | "weight">,
  part: string,
  options: { silent?: boolean } = {},
): Tensor {
  const kind = part === "ln_final" && cfg.final_rms ? "RMS" : cfg.normalization_type;
  if (kind === null) return x;
  const path = name === "" ? part : `${name}.${part}`;
  const fire = (point: string, value: Tensor): Tensor =>
    options.silent ? value : trace.fire(`${path}.${point}`, value);
  const centred = kind.startsWith("LN") ? sub(x, mean(x, -1, { keepDims: true })) : x;
  // A power, not a product: what ONNX Runtime looks for when it fuses norms.
  const scale = fire("hook_scale", sqrt(add(mean(pow(centred, 2), -1, { keepDims: true }), cfg.eps))); // [batch, pos, 1]
  const normalized = fire("hook_normalized", div(centred, scale)); // [batch, pos, d_model]
  const w = weight(`${part}.w`, false);
  const b = weight(`${part}.b`, false);
  const scaled = w === undefined ? normalized : mul(normalized, w);
  return b === undefined ? scaled : add(scaled, b);
}
