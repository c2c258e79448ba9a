/** @file `concept_direction`: the direction that tells two groups apart. */
import { z } from "zod";
import { gather, leaf, transpose, type Tensor } from "../../../../graph/index.ts";
import type { HookedModel } from "../../../../model/index.ts";
import { AnalysisError } from "../../../errors.ts";
import { int64 } from "../../../engine/answers.ts";
import { maybe, type Maybe } from "../known.ts";
import { defineOp, type Op, type OpContext } from "../../op.ts";
import { concept, type Concept } from "./columns.ts";
import { addTo, emptySum, meanOf, rejection, unit, type Vector, type WeightedSum } from "./vectors.ts";

/** How a direction is made of two groups. */
export type DirectionMode = "mean_difference" | "paired_rejection" | "single_group";

/** Which direction. */
export interface ConceptDirectionParams {
  /**
   * `mean_difference` (default): mean of A minus mean of B. `paired_rejection`: mean of what of each a is not along its b.
   * `single_group`: mean of A. Means are weighted.
   */
  mode?: DirectionMode;
  /** Default: the groups' names, `A -> B`. */
  label?: string;
  /** Tokens (texts or ids) whose unembeddings stand for group A where no examples are given. */
  groupA?: readonly (string | number)[];
  groupB?: readonly (string | number)[];
}

interface Params {
  readonly mode: DirectionMode;
  readonly label?: string;
  readonly groupA: readonly (string | number)[];
  readonly groupB: readonly (string | number)[];
}

const tokens = z.array(z.union([z.string(), z.int().nonnegative()])).readonly();
const params: z.ZodType<Params, ConceptDirectionParams> = z.strictObject({
  mode: z.enum(["mean_difference", "paired_rejection", "single_group"]).default("mean_difference"),
  label: z.string().optional(),
  groupA: tokens.default([]),
  groupB: tokens.default([]),
});

interface Row {
  readonly state: Vector;
  readonly weight: number;
}

/** What is kept of all examples so far: sums, and those that wait for their partner. */
interface Sums {
  readonly groups: readonly [WeightedSum, WeightedSum];
  readonly pairs: WeightedSum;
  readonly waiting: readonly [Row[], Row[]];
}

const emptySums = (width: number): Sums => ({
  groups: [emptySum(width), emptySum(width)],
  pairs: emptySum(width),
  waiting: [[], []],
});

/** Enters an example of group 0 or 1. For pairs, the i-th of one is paired with the i-th of the other. */
function enter({ groups, pairs, waiting }: Sums, mode: DirectionMode, group: 0 | 1, row: Row): void {
  addTo(groups[group], row.state, row.weight);
  if (mode !== "paired_rejection") return;
  waiting[group].push(row);
  if (waiting[0].length === 0 || waiting[1].length === 0) return;
  const [a, b] = [waiting[0].shift()!, waiting[1].shift()!];
  addTo(pairs, rejection(a.state, b.state), (a.weight + b.weight) / 2);
}

const modes: {
  readonly [M in DirectionMode]: {
    readonly needs: readonly (0 | 1)[];
    readonly direction: (sums: Sums) => Float64Array;
  };
} = {
  mean_difference: {
    needs: [0, 1],
    direction: ({ groups: [a, b] }) => {
      const other = meanOf(b);
      return meanOf(a).map((x, i) => x - other[i]!);
    },
  },
  paired_rejection: { needs: [0, 1], direction: ({ pairs }) => meanOf(pairs) },
  single_group: { needs: [0], direction: ({ groups: [a] }) => meanOf(a) },
};

const isEmpty = (sums: Sums, mode: DirectionMode): boolean =>
  modes[mode].needs.some((group) => sums.groups[group].weight <= 0);

type RowColumns = Concept<
  | "concept_latent_state"
  | "concept_group_id"
  | "concept_group_name"
  | "concept_example_weight"
  | "concept_aggregate_output_mode"
>;

/**
 * `concept_direction` (`semantic_direction`): the direction from group B to group A, at length 1, of the examples that
 * `extract_concept_latent_examples` gave, of all batches so far; zeros as long as a group it needs has none. Without
 * examples, of the unembeddings (or embeddings) of `groupA` and `groupB`.
 */
export const conceptDirection: Op<
  Maybe<RowColumns>,
  Concept<"concept_direction" | "concept_direction_label"> &
    Maybe<Concept<"concept_group_a_ids" | "concept_group_b_ids">>,
  ConceptDirectionParams
> = defineOp({
  name: "concept_direction",
  aliases: ["semantic_direction"],
  description: "The direction that tells two groups of examples, or of tokens, apart.",
  input: maybe(
    concept(
      "concept_latent_state",
      "concept_group_id",
      "concept_group_name",
      "concept_example_weight",
      "concept_aggregate_output_mode",
    ),
  ),
  output: {
    ...concept("concept_direction", "concept_direction_label"),
    ...maybe(concept("concept_group_a_ids", "concept_group_b_ids")),
  },
  params,
  state: { fields: { sums: (): Sums | null => null, names: (): readonly [string, string] => ["group_a", "group_b"] } },
  run: async (inputs, context) => {
    const { params, state } = context;
    const { concept_latent_state: states, concept_group_id: groups, concept_example_weight: weights } = inputs;
    if (states === undefined || groups === undefined) return ofTokens(context);
    const done = await context.realize({ states, groups, weights });
    const width = done.states.dims[1] ?? 0;
    const ids = done.groups.toArray();
    const weight = done.weights?.toArray();
    const inMemory = inputs.concept_aggregate_output_mode === "in_memory";
    const sums = inMemory ? emptySums(width) : (state.sums ??= emptySums(width));
    const data = done.states.data as Float32Array;
    const names: [string, string] = [...state.names];
    ids.forEach((id, i) => {
      const group = id === 0 ? 0 : 1;
      names[group] = inputs.concept_group_name?.[i] ?? names[group];
      enter(sums, params.mode, group, { state: data.slice(i * width, (i + 1) * width), weight: weight?.[i] ?? 1 });
    });
    state.names = names;
    if (inMemory && isEmpty(sums, params.mode)) throw emptyGroup(params.mode, "examples");
    const direction = isEmpty(sums, params.mode) ? new Float64Array(width) : unit(modes[params.mode].direction(sums));
    return {
      concept_direction: Float32Array.from(direction),
      concept_direction_label: params.label ?? labelOf(params.mode, [names[0]], [names[1]]),
    };
  },
});

const labelOf = (mode: DirectionMode, a: readonly string[], b: readonly string[]): string =>
  (mode === "single_group" ? [a] : [a, b]).map((names) => names.join(" / ")).join(" -> ");

const emptyGroup = (mode: DirectionMode, what: string): AnalysisError =>
  new AnalysisError(`${mode} needs ${what} of ${modes[mode].needs.length === 1 ? "group A" : "both groups"}`, {
    code: "analysis/empty-group",
    where: "concept_direction",
  });

/** The direction of the tokens' rows in the unembedding (else the embedding). */
async function ofTokens(context: OpContext<Params, { sums: Sums | null }>): Promise<{
  concept_direction: Float32Array;
  concept_direction_label: string;
  concept_group_a_ids: readonly number[];
  concept_group_b_ids: readonly number[];
}> {
  const { params, model } = context;
  const [a, b] = [params.groupA, params.groupB].map((group) => group.map((token) => tokenId(token, model))) as [
    number[],
    number[],
  ];
  const sizes = [a.length, b.length];
  if (modes[params.mode].needs.some((group) => sizes[group] === 0)) throw emptyGroup(params.mode, "tokens");
  if (params.mode === "paired_rejection" && a.length !== b.length)
    throw new AnalysisError("paired_rejection pairs the tokens of two groups one by one", {
      code: "analysis/params",
      where: "concept_direction",
      expected: "groups of one length",
      received: sizes.join(" and "),
    });
  const rows = await context.realize(embeddings(model, [...a, ...b])); // [token, d]
  const width = rows.dims[1]!;
  const data = rows.data as Float32Array;
  const sums = emptySums(width);
  [...a, ...b].forEach((_id, i) =>
    enter(sums, params.mode, i < a.length ? 0 : 1, { state: data.subarray(i * width, (i + 1) * width), weight: 1 }),
  );
  return {
    concept_direction: Float32Array.from(unit(modes[params.mode].direction(sums))),
    concept_direction_label: params.label ?? labelOf(params.mode, params.groupA.map(String), params.groupB.map(String)),
    concept_group_a_ids: a,
    concept_group_b_ids: b,
  };
}

/** A text's vocabulary id, else the last token of its tokenisation. */
function tokenId(token: string | number, model: HookedModel): number {
  if (typeof token === "number") return token;
  const exact = model.tokenizer.idOf(token);
  if (exact !== undefined) return exact;
  const { ids } = model.tokenizer.encode(token, { addSpecialTokens: false });
  const last = ids.at(-1);
  if (last !== undefined) return last;
  throw new AnalysisError("a text of a group has no tokens", {
    code: "analysis/params",
    received: JSON.stringify(token),
  });
}

function embeddings(model: HookedModel, ids: readonly number[]): Tensor {
  const index = leaf(int64(ids), [ids.length], { name: "tokens of the groups" });
  const unembedding = model.weights.get("unembed.W_U"); // [d_model, d_vocab]
  return unembedding === undefined
    ? gather(model.weight("embed.W_E"), index, 0)
    : transpose(gather(unembedding, index, 1));
}
