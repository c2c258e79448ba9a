/** @file The columns of the family `concept`. */

/** What ops of the family write. Rows that examples keep are per batch: there may be any number of them. */
const conceptColumns = {
  concept_latent_state: {
    per: "batch",
    type: "float32",
    list: true,
    description: "states of the examples that are kept, row by row",
  },
  concept_group_id: { per: "batch", type: "int32", list: true, description: "0 or 1: the group of each kept example" },
  concept_group_name: { per: "batch", type: "string", list: true, description: "the name of that group" },
  concept_example_logit_diff: {
    per: "batch",
    type: "float32",
    list: true,
    description: "logit difference of each kept example",
  },
  concept_example_weight: { per: "batch", type: "float32", list: true, description: "weight of each kept example" },
  concept_example_indices: {
    per: "batch",
    type: "int32",
    list: true,
    description: "number of each kept example in its file",
  },
  concept_aggregate_output_mode: {
    per: "batch",
    type: "string",
    description: "streaming: the examples of this batch; in_memory: those of all batches so far",
  },
  concept_group_a_ids: { per: "batch", type: "int32", list: true, description: "tokens of group A" },
  concept_group_b_ids: { per: "batch", type: "int32", list: true, description: "tokens of group B" },
  concept_direction: { per: "batch", type: "float32", list: true, description: "a direction of length 1, or zeros" },
  concept_direction_label: { per: "batch", type: "string", description: "what the direction is called" },
  pre_intervention_logits: {
    per: "batch",
    type: "float32",
    list: true,
    description: "logits at the last token of the first example, without interventions",
  },
  post_intervention_logits: {
    per: "batch",
    type: "float32",
    list: true,
    description: "logits at the last token of the first example, with interventions",
  },
  logit_diff: {
    per: "batch",
    type: "float32",
    description: "mean change of the target tokens' logits, or of all where there are no target tokens",
  },
} as const;

type ConceptColumns = typeof conceptColumns;
/** Some of the family's columns. */
export type Concept<Name extends keyof ConceptColumns> = Pick<ConceptColumns, Name>;

/** Names columns of the family. */
export const concept = <Name extends keyof ConceptColumns>(...names: readonly Name[]): Concept<Name> =>
  Object.fromEntries(names.map((name) => [name, conceptColumns[name]])) as Concept<Name>;

/** The state of each row of the batch. */
export const stateColumn = {
  concept_latent_state: {
    per: "example",
    type: "float32",
    list: true,
    description: "the activation that stands for the example",
  },
} as const;

/** Where the context of each row stands. */
export const contextColumn = {
  context_token_indices: {
    per: "example",
    type: "int32",
    optional: true,
    description: "position of each row's context; negative: none. Default: the token before the answer position",
  },
} as const;
