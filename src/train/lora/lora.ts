/** @file Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): small matrices trained beside weights that stay. */
import { z } from "zod";
import { add, leaf, matmul, mul, reshape, transpose, uniformAt, type Tensor } from "../../graph/index.ts";
import type { HookedModel } from "../../model/index.ts";
import { TrainError } from "../errors.ts";
import type { LearnerState } from "../learner/learner.ts";
import { loraTargets, patternValue, peftNames, type LoraTargets } from "./targets.ts";
import type { ParameterNames, Trainable } from "../learner/parameters.ts";

export interface LoraOptions {
  /**
   * Rank of each adapter. Default 8. One above the larger side of its projection is refused, although PEFT takes any: it
   * would hold twice the numbers of the weight itself, and change no more of it than the smaller side's.
   */
  rank?: number;
  /** The adapters' product is scaled by alpha / rank. Default 16. */
  alpha?: number;
  /**
   * Projections by globs over TransformerLens names (`blocks.*.attn.W_Q`), or modules as PEFT names them: a list of ends of
   * their names (`c_attn`, `self_attn.q_proj`), `"all-linear"`, or a text that is a regular expression over whole names.
   * The projections of one module (GPT-2's `c_attn`) share their A. Default: `blocks.*.attn.W_Q` and `blocks.*.attn.W_V`;
   * null: as PEFT, the modules that hold queries or values.
   */
  targets?: LoraTargets | null;
  /** What is left out of them. */
  exclude?: LoraTargets;
  /** Only these layers. */
  layers?: readonly number[];
  /** Ranks and alphas of some, by module or glob. */
  rankPattern?: Readonly<Record<string, number>>;
  alphaPattern?: Readonly<Record<string, number>>;
  /** Scale by alpha / √rank (rsLoRA, Kalajdzievski 2023). Default false. */
  rankStabilized?: boolean;
  /** What the random matrices begin from. Default 0. */
  seed?: number;
  /**
   * As PEFT's `init_lora_weights`: true (default) draws A and sets B to 0; `"gaussian"` draws A from a normal distribution of
   * deviation 1 / rank; false draws both, so that the adapters change the model at once.
   */
  init?: boolean | "gaussian";
  /** Share of a projection's inputs that its adapter does not see in training; see `loraDropout`. Default 0. */
  dropout?: number;
}

const names = z.union([z.string().min(1), z.array(z.string().min(1))]);
const optionsSchema = z.strictObject({
  rank: z.int().positive().default(8),
  alpha: z.number().positive().default(16),
  targets: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .nullable()
    .default(["blocks.*.attn.W_Q", "blocks.*.attn.W_V"]),
  exclude: names.optional(),
  layers: z.array(z.int().nonnegative()).optional(),
  rankPattern: z.record(z.string(), z.int().positive()).default({}),
  alphaPattern: z.record(z.string(), z.number().positive()).default({}),
  rankStabilized: z.boolean().default(false),
  seed: z.int().nonnegative().default(0),
  init: z.union([z.boolean(), z.literal("gaussian")]).default(true),
  dropout: z.number().min(0).lt(1).default(0),
});

/** What an adapter's product is multiplied by. */
export const loraScale = (alpha: number, rank: number, stabilized: boolean): number =>
  alpha / (stabilized ? Math.sqrt(rank) : rank);

/** The adapter of one projection. */
export interface LoraAdapter {
  /** [rank, in]; projections of one module may have the same. */
  readonly A: Tensor;
  /** [out, rank] */
  readonly B: Tensor;
  readonly scale: number;
}

/** A model with adapters: what a {@link Learner} trains of it, and the names that globs may call it by. */
export interface Lora extends Trainable {
  /** Runs with the adapters; the same hooks, the same views. */
  readonly model: HookedModel;
  /** The model as it was. */
  readonly base: HookedModel;
  /** By the TransformerLens name of the projection. */
  readonly adapters: ReadonlyMap<string, LoraAdapter>;
  /** Share of inputs that adapters do not see in training. The model itself leaves none out: `loraDropout` does. */
  readonly dropout: number;
  /**
   * `<projection>.lora_A` [rank, in] and `<projection>.lora_B` [out, rank]; an A that the projections of a module share is
   * called after that: `transformer.h.0.attn.c_attn.lora_A`.
   */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Projections' names of a shared A, and PEFT's names of all. */
  readonly aliases: ParameterNames;
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
 * @throws TrainError for a name that means no projection of attention or MLP
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
  const { targets, exclude, layers, rankPattern, alphaPattern, rankStabilized, seed, init, dropout } = parsed.data;
  const adapters = new Map<string, LoraAdapter>();
  let counter = 0;
  /** Uniform within ±bound, as PyTorch begins a layer (Kaiming with a = √5) and PEFT an A. */
  const uniform = (size: number, bound: number): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length: size }, () => bound * (2 * uniformAt(seed, counter++) - 1));
  const normal = (size: number, deviation: number): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length: size }, () => {
      const radius = Math.sqrt(-2 * Math.log(1 - uniformAt(seed, counter++)));
      return deviation * radius * Math.cos(2 * Math.PI * uniformAt(seed, counter++));
    });
  for (const target of loraTargets(model, targets ?? undefined, { exclude, layers })) {
    const rank = patternValue(rankPattern, target) ?? parsed.data.rank;
    const alpha = patternValue(alphaPattern, target) ?? parsed.data.alpha;
    const fans = target.params.map((param) => fansOf(param, sizesOf(model.weights.get(param)!)));
    const { fanIn } = fans[0]!;
    const most = Math.max(fanIn, ...fans.map(({ fanOut }) => fanOut));
    if (rank > most)
      throw new TrainError("the rank of an adapter is larger than its projection", {
        code: "train/lora",
        where: target.name,
        expected: `at most ${most}`,
        received: String(rank),
        hint: "usual ranks are 4 to 64",
      });
    const size = rank * fanIn;
    const start = init === "gaussian" ? normal(size, 1 / rank) : uniform(size, 1 / Math.sqrt(fanIn));
    const A = leaf(start, [rank, fanIn], { name: `${target.name}.lora_A` });
    const scale = loraScale(alpha, rank, rankStabilized);
    target.params.forEach((param, i) => {
      const { fanOut } = fans[i]!;
      const own = init === false ? uniform(fanOut * rank, 1 / Math.sqrt(rank)) : new Float32Array(fanOut * rank);
      const B = leaf(own, [fanOut, rank], { name: `${param}.lora_B` });
      adapters.set(param, { A, B, scale });
    });
  }
  return loraOf(model, adapters, dropout);
}

/** A model with these adapters. */
export function loraOf(base: HookedModel, adapters: ReadonlyMap<string, LoraAdapter>, dropout: number): Lora {
  const weights = new Map(base.weights);
  const sharing = new Map<Tensor, string[]>();
  for (const [name, { A }] of adapters) sharing.set(A, [...(sharing.get(A) ?? []), name]);
  const [namesA, namesB] = [peftNames(base, "A"), peftNames(base, "B")];
  const parameters = new Map<string, Tensor>();
  const aliases = new Map<string, readonly string[]>();
  const put = (name: string, x: Tensor, others: readonly string[]): void => {
    parameters.set(name, x);
    aliases.set(
      name,
      others.filter((other) => other !== name),
    );
  };
  for (const [name, adapter] of adapters) {
    const weight = base.weights.get(name)!;
    weights.set(name, add(weight, deltaOf(name, sizesOf(weight), adapter)));
    const { A, B } = adapter;
    const of = sharing.get(A)!;
    if (of[0] === name) {
      const own = of.map((param) => `${param}.lora_A`);
      put(of.length === 1 ? own[0]! : A.storage!.name, A, [...own, ...(namesA.get(name) ?? [])]);
    }
    put(`${name}.lora_B`, B, namesB.get(name) ?? []);
  }
  return { model: base.withWeights(weights), base, adapters, dropout, parameters, aliases };
}

/**
 * The adapters as a checkpoint of their training has them.
 * @throws TrainError when the state is that of other parameters
 */
export function loraAsOf(
  { base, adapters, dropout, parameters }: Lora,
  { tensors }: Pick<LearnerState, "tensors">,
): Lora {
  const then = new Map(
    [...parameters].map(([name, x]) => {
      const saved = tensors[`parameter.${name}`];
      if (saved?.dims.join() === x.dims.join()) return [x, saved] as const;
      throw new TrainError("the state is that of another training", {
        code: "train/state",
        where: `parameter.${name}`,
        expected: `[${x.dims.join(", ")}]`,
        received: saved === undefined ? "nothing" : `[${saved.dims.join(", ")}]`,
      });
    }),
  );
  const was = ({ A, B, scale }: LoraAdapter): LoraAdapter => ({ A: then.get(A)!, B: then.get(B)!, scale });
  return loraOf(base, new Map([...adapters].map(([name, adapter]) => [name, was(adapter)])), dropout);
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
