/** @file `extract_concept_latent_examples`: the examples of two groups, with their weights. */
import { z } from "zod";
import { leaf } from "../../../../graph/index.ts";
import { known, type Known } from "../known.ts";
import { defineOp, type Op } from "../../op.ts";
import { concept, stateColumn, type Concept } from "./columns.ts";

/** Which examples stand for a concept. */
export interface ConceptExamplesParams {
  /** Tokens of the right answers that make an example one of group A. */
  conceptGroupALabelIds: readonly number[];
  /** The same for group B; it wins where a token is in both. */
  conceptGroupBLabelIds?: readonly number[];
  /** Defaults `group_a`, `group_b`. */
  conceptGroupNames?: readonly [a: string, b: string];
  /** Keep examples with a positive logit difference only. Default true. */
  conceptCorrectOnly?: boolean;
  /** Weigh examples by |logit difference|; all weigh 1 otherwise. Default false. */
  conceptWeightByLogitDiff?: boolean;
  /** `streaming` (default) retains nothing; `in_memory` keeps the examples of all batches and gives them all each time. */
  conceptAggregateOutputMode?: "streaming" | "in_memory";
}

const ids = z.array(z.int().nonnegative()).readonly();
const params: z.ZodType<Required<ConceptExamplesParams>, ConceptExamplesParams> = z.strictObject({
  conceptGroupALabelIds: ids.default([]),
  conceptGroupBLabelIds: ids.default([]),
  conceptGroupNames: z.tuple([z.string(), z.string()]).readonly().default(["group_a", "group_b"]),
  conceptCorrectOnly: z.boolean().default(true),
  conceptWeightByLogitDiff: z.boolean().default(false),
  conceptAggregateOutputMode: z.enum(["streaming", "in_memory"]).default("streaming"),
}) as z.ZodType<Required<ConceptExamplesParams>, ConceptExamplesParams>;

interface Example {
  readonly state: Float32Array;
  readonly group: 0 | 1;
  readonly diff: number;
  readonly weight: number;
  readonly example: number;
}

/**
 * `extract_concept_latent_examples` (`concept_latent_examples`): the examples whose right answer is in group A or B, by
 * default only those that the model gets right. They are given row by row, however many they are.
 */
export const extractConceptLatentExamples: Op<
  typeof stateColumn & Known<"label_ids" | "logit_diffs">,
  Concept<
    | "concept_latent_state"
    | "concept_group_id"
    | "concept_group_name"
    | "concept_example_logit_diff"
    | "concept_example_weight"
    | "concept_example_indices"
    | "concept_aggregate_output_mode"
    | "concept_group_a_ids"
    | "concept_group_b_ids"
  >,
  ConceptExamplesParams
> = defineOp({
  name: "extract_concept_latent_examples",
  aliases: ["concept_latent_examples"],
  description: "The examples of two groups of answers, with their states and weights.",
  input: { ...stateColumn, ...known("label_ids", "logit_diffs") },
  output: concept(
    "concept_latent_state",
    "concept_group_id",
    "concept_group_name",
    "concept_example_logit_diff",
    "concept_example_weight",
    "concept_example_indices",
    "concept_aggregate_output_mode",
    "concept_group_a_ids",
    "concept_group_b_ids",
  ),
  params,
  state: { fields: { examples: (): readonly Example[] => [] } },
  run: async ({ concept_latent_state, label_ids, logit_diffs }, context) => {
    const { batch, params, state } = context;
    const done = await context.realize({ states: concept_latent_state, labels: label_ids, diffs: logit_diffs });
    const width = done.states.dims[1] ?? 1;
    const states = done.states.data as Float32Array;
    const diffs = done.diffs.toArray();
    const found = done.labels.toArray().flatMap((label, row): Example[] => {
      const group = params.conceptGroupBLabelIds.includes(label)
        ? 1
        : params.conceptGroupALabelIds.includes(label)
          ? 0
          : undefined;
      const diff = diffs[row]!;
      if (group === undefined || (params.conceptCorrectOnly && !(diff > 0))) return [];
      const weight = params.conceptWeightByLogitDiff ? Math.abs(diff) : 1;
      const own = states.slice(row * width, (row + 1) * width);
      return [{ state: own, group, diff, weight, example: batch.examples[row]! }];
    });
    const all =
      params.conceptAggregateOutputMode === "in_memory" ? (state.examples = [...state.examples, ...found]) : found;
    const rows = new Float32Array(all.length * width);
    all.forEach((example, i) => rows.set(example.state, i * width));
    return {
      concept_latent_state: leaf(rows, [all.length, width], { name: "concept states" }),
      concept_group_id: all.map(({ group }) => group),
      concept_group_name: all.map(({ group }) => params.conceptGroupNames[group]),
      concept_example_logit_diff: all.map(({ diff }) => diff),
      concept_example_weight: all.map(({ weight }) => weight),
      concept_example_indices: all.map(({ example }) => example),
      concept_aggregate_output_mode: params.conceptAggregateOutputMode,
      concept_group_a_ids: params.conceptGroupALabelIds,
      concept_group_b_ids: params.conceptGroupBLabelIds,
    };
  },
});
