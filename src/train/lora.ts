/** @file Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): small matrices trained beside weights that stay. */
import { z } from "zod";
import { add, leaf, matmul, mul, reshape, transpose, uniformAt, type Tensor } from "../graph/index.ts";
import { isProjection, type HookedModel } from "../model/index.ts";
import { TrainError } from "./errors.ts";
import { matchNames } from "./parameters.ts";

export interface LoraOptions {
  /** Rank of each adapter. Default 8. */
  rank?: number;
  /** The adapters' product is scaled by alpha / rank. Default 16. */
  alpha?: number;
  /** Globs over projections by TransformerLens name. Default: queries and values. */
  targets?: readonly string[];
  /** What the random matrices begin from. Default 0. */
  seed?: number;
}

const optionsSchema = z.strictObject({
  rank: z.int().positive().default(8),
  alpha: z.number().positive().default(16),
  targets: z.array(z.string()).min(1).default(["blocks.*.attn.W_Q", "blocks.*.attn.W_V"]),
  seed: z.int().nonnegative().default(0),
});

/** The adapter of one projection. */
export interface LoraAdapter {
  /** [rank, in] */
  readonly A: Tensor;
  /** [out, rank] */
  readonly B: Tensor;
  readonly scale: number;
}

/** A model with adapters. */
export interface Lora {
  /** Runs with the adapters; the same hooks, the same views. */
  readonly model: HookedModel;
  /** The model as it was. */
  readonly base: HookedModel;
  /** By the TransformerLens name of the projection. */
  readonly adapters: ReadonlyMap<string, LoraAdapter>;
  /** `<projection>.lora_A` [rank, in] and `<projection>.lora_B` [out, rank], for a {@link Learner}. */
  readonly parameters: ReadonlyMap<string, Tensor>;
}

/** Width of what goes into a projection and of what comes out, heads taken together. */
export function fansOf(name: string, shape: readonly number[]): { readonly fanIn: number; readonly fanOut: number } {
  const [a, b, c] = shape as [number, number, number];
  if (shape.length === 2) return { fanIn: a, fanOut: b };
  return name.endsWith(".W_O") ? { fanIn: a * b, fanOut: c } : { fanIn: b, fanOut: a * c };
}

/** The sizes of a weight, all of them known. */
export const sizesOf = (x: Tensor): readonly number[] => x.shape.map(Number);

/** What an adapter adds to its projection, in that one's own shape. */
function deltaOf(name: string, shape: readonly number[], { A, B, scale }: LoraAdapter): Tensor {
  const product = mul(matmul(B, A), scale); // [out, in]
  const [a, b, c] = shape as [number, number, number];
  if (shape.length === 2) return transpose(product);
  return name.endsWith(".W_O")
    ? reshape(transpose(product), [a, b, c])
    : transpose(reshape(product, [a, c, b]), [0, 2, 1]);
}

/**
 * A model with low-rank adapters on the projections that globs name: W + alpha / rank · B A. At first B is 0, so the model
 * computes what it did. Only `parameters` are trained; the weights stay as they are, and are not copied.
 * @throws TrainError for a glob that names no projection of attention or MLP
 * @example
 * const { model: adapted, parameters } = addLora(model, { rank: 2, targets: ["blocks.*.attn.W_Q"] });
 * const learner = new Learner({ parameters, optimizer: { name: "AdamW", lr: 1e-3 } });
 * const { loss } = await learner.step({ loss: adapted.trace(adapted.batch([[1, 2, 3, 4]])).loss });
 */
export function addLora(model: HookedModel, options: LoraOptions = {}): Lora {
  const parsed = optionsSchema.safeParse(options);
  if (!parsed.success)
    throw new TrainError("the options of the adapters do not fit", {
      code: "train/lora",
      received: z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "),
    });
  const { rank, alpha, targets, seed } = parsed.data;
  const possible = [...model.weights.keys()].filter(isProjection);
  const adapters = new Map<string, LoraAdapter>();
  let counter = 0;
  for (const name of matchNames(targets, possible)) {
    const { fanIn, fanOut } = fansOf(name, sizesOf(model.weights.get(name)!));
    // PyTorch's Kaiming-uniform with a = √5, as PEFT begins.
    const bound = 1 / Math.sqrt(fanIn);
    const start = Float32Array.from({ length: rank * fanIn }, () => bound * (2 * uniformAt(seed, counter++) - 1));
    adapters.set(name, {
      A: leaf(start, [rank, fanIn], { name: `${name}.lora_A` }),
      B: leaf(new Float32Array(fanOut * rank), [fanOut, rank], { name: `${name}.lora_B` }),
      scale: alpha / rank,
    });
  }
  return loraOf(model, adapters);
}

/** A model with these adapters. */
export function loraOf(base: HookedModel, adapters: ReadonlyMap<string, LoraAdapter>): Lora {
  const weights = new Map(base.weights);
  const parameters = new Map<string, Tensor>();
  for (const [name, adapter] of adapters) {
    const weight = base.weights.get(name)!;
    weights.set(name, add(weight, deltaOf(name, sizesOf(weight), adapter)));
    parameters.set(`${name}.lora_A`, adapter.A).set(`${name}.lora_B`, adapter.B);
  }
  return { model: base.withWeights(weights), base, adapters, parameters };
}

/**
 * The model with the adapters added to its weights: as fast as without them, and to be saved like any other. The one it
 * came from, `lora.base`, is the model unmerged.
 * @example
 * const merged = await mergeLora(addLora(model, { rank: 2, targets: ["*.W_in"] }));
 * await merged.run([[1, 2, 3]]); // [1, 3, d_vocab]
 */
export async function mergeLora({ base, model, adapters }: Lora): Promise<HookedModel> {
  const weights = new Map(base.weights);
  for (const name of adapters.keys()) {
    const { data, dims } = await base.runtime.realize(model.weights.get(name)!);
    weights.set(name, leaf(data, dims, { role: "weight", name }));
  }
  return base.withWeights(weights);
}
