/** @file From what a file holds to what runs: training forms become inference forms, shapes are checked. */
import { shapeText } from "../../graph/index.ts";
import { parseSaeConfig, type SaeConfig, type StoredSaeConfig } from "../config/config.ts";
import { SaeError } from "../errors.ts";
import { architectures, runsAs } from "../latents/architectures.ts";
import type { PreparedSae, SaeArray, SaeArrays } from "./arrays.ts";
import { foldDecoderNorms, foldInputMean, scaleRows } from "./fold.ts";

/**
 * Checks and converts. Beside SAELens' own tensors it knows `log_threshold`, `topk_threshold` (batchtopk in training
 * form), `scaling_factor` (old fine-tuning) and `act_mean` (subtracted from the input, added to the output).
 * @throws SaeError naming `where`, the tensor, what was expected and what came
 */
export function prepare(config: unknown, given: SaeArrays, where: string): PreparedSae {
  const stored = parseSaeConfig(config, where);
  if (typeof stored.metadata.hook_head_index === "number")
    throw new SaeError("an SAE of a single attention head is not supported", {
      code: "sae/config",
      where,
      received: `hook_head_index ${stored.metadata.hook_head_index}`,
    });
  const { log_threshold, topk_threshold, scaling_factor, act_mean, ...own } = given;
  const single = log_threshold ? { ...log_threshold, data: log_threshold.data.map(Math.exp) } : topk_threshold;
  const threshold = own["threshold"] ?? single;
  const arrays = threshold === undefined ? own : { ...own, threshold: repeated(threshold, stored.d_sae) };
  const cfg = inferenceConfig(stored);

  checkArrays(cfg, arrays, where);
  let prepared: PreparedSae = { cfg, arrays };
  if (stored.architecture !== cfg.architecture && stored.rescale_acts_by_decoder_norm)
    // Its threshold is in units of the folded latents already.
    prepared = { cfg, arrays: { ...foldDecoderNorms(cfg, arrays).arrays, threshold: arrays["threshold"]! } };
  if (scaling_factor !== undefined && scaling_factor.data.some((s) => s !== 1)) {
    expectShape("scaling_factor", scaling_factor, [cfg.d_sae], where);
    prepared = {
      cfg,
      arrays: { ...prepared.arrays, W_dec: scaleRows(prepared.arrays["W_dec"]!, scaling_factor.data) },
    };
  }
  if (act_mean !== undefined) {
    expectShape("act_mean", act_mean, [cfg.d_in], where);
    prepared = { cfg, arrays: foldInputMean(cfg, prepared.arrays, act_mean.data) };
  }
  return prepared;
}

/** Where the running form has no k of its own, and no norms in its latents, they are in the weights. */
function inferenceConfig({ architecture: stored, k, ...rest }: StoredSaeConfig): SaeConfig {
  const architecture = runsAs[stored];
  const metadata = architecture === stored ? rest.metadata : { ...rest.metadata, training_architecture: stored };
  if (architectures[architecture].ranks) return { ...rest, architecture, k, metadata };
  return { ...rest, architecture, k: undefined, rescale_acts_by_decoder_norm: false, metadata };
}

/** One number for all latents, written out. */
function repeated(array: SaeArray, count: number): SaeArray {
  return array.data.length === 1 ? { dims: [count], data: new Float32Array(count).fill(array.data[0]!) } : array;
}

function checkArrays(cfg: SaeConfig, arrays: SaeArrays, where: string): void {
  const { d_in, d_sae, architecture } = cfg;
  const expected = new Map<string, readonly number[]>([
    ["W_enc", [d_in, d_sae]],
    ["W_dec", [d_sae, d_in]],
    ["b_dec", [d_in]],
    ...architectures[architecture].parameters.map((name) => [name, [d_sae]] as const),
  ]);
  checkShapes(`${architecture} SAE`, expected, arrays, where);
}

/** @throws SaeError for tensors that are missing, unknown or of another shape */
export function checkShapes(
  what: string,
  expected: ReadonlyMap<string, readonly number[]>,
  arrays: SaeArrays,
  where: string,
): void {
  for (const [name, shape] of expected) {
    const array = Object.hasOwn(arrays, name) ? arrays[name] : undefined;
    if (array === undefined)
      throw new SaeError(`the ${what} lacks a tensor`, {
        code: "sae/tensor",
        where,
        expected: `${name} ${shapeText(shape)}`,
        received: Object.keys(arrays).join(", "),
      });
    expectShape(name, array, shape, where);
  }
  const unknown = Object.keys(arrays).filter((name) => !expected.has(name));
  if (unknown.length > 0)
    throw new SaeError(`a ${what} has no such tensor`, {
      code: "sae/tensor",
      where,
      expected: [...expected.keys()].join(", "),
      received: unknown.join(", "),
      hint: "is the architecture in the configuration the right one?",
    });
}

function expectShape(name: string, { dims, data }: SaeArray, shape: readonly number[], where: string): void {
  const size = shape.reduce((a, b) => a * b, 1);
  if (dims.length === shape.length && dims.every((d, i) => d === shape[i]) && data.length === size) return;
  throw new SaeError("an SAE tensor does not have the shape its configuration implies", {
    code: "sae/tensor",
    where: `${where}, tensor ${name}`,
    expected: shapeText(shape),
    received: `${shapeText(dims)} with ${data.length} numbers`,
  });
}
