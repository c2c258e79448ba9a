/** @file The columns of the bundled ops. */

/** Columns that bundled ops read and write, by name; an op names those it means. */
const knownColumns = {
  label_ids: { per: "example", type: "int32", description: "token of the right answer" },
  orig_labels: { per: "example", type: "int32", description: "class of the right answer" },
  answer_indices: { per: "example", type: "int32", description: "position in the padded row where the answer is read" },
  loss: { per: "example", type: "float32", description: "cross entropy of the right answer over the vocabulary" },
  logit_diffs: {
    per: "example",
    type: "float32",
    description: "logit of the right answer minus the mean (or the best) of the others",
  },
  preds: { per: "example", type: "int32", description: "class with the largest answer logit" },
  answer_logits: { per: "example", type: "float32", list: true, description: "logits of the answers, one per class" },
  alive_latents: {
    per: "latent",
    type: "float32",
    description: "activations at the answer position: the latents above 0 are the rows of the table of latents",
  },
  correct_activations: {
    per: "latent",
    type: "float32",
    intermediate: true,
    description: "activations in examples with a positive logit difference, 0 in the others; a view of what is stored",
  },
  attribution_values: { per: "latent", type: "float32", description: "effect on the logit difference, unmasked" },
  ablated_logit_diff: { per: "latent", type: "float32", description: "logit difference with this latent set to 0" },
  ablated_loss: { per: "latent", type: "float32", description: "loss with this latent set to 0" },
  ablated_pred: { per: "latent", type: "int32", description: "predicted class with this latent set to 0" },
} as const;

/** Columns that ops hand to each other. */
const flowColumns = {
  answer_logits: { holds: "tensor", description: "logits [batch, pos, d_vocab]; from model_fwd" },
  cache: { holds: "hooks", description: "activations by hook point; from a caching forward pass" },
  grad_cache: { holds: "hooks", description: "derivatives of the summed logit differences by hook point" },
} as const;

type KnownColumns = typeof knownColumns;
type FlowColumns = typeof flowColumns;

/** Some of the stored columns. */
export type Known<Name extends keyof KnownColumns> = Pick<KnownColumns, Name>;
/** Some of the columns in flow. */
export type Flow<Name extends keyof FlowColumns> = Pick<FlowColumns, Name>;
/** The same columns, not required. */
export type Maybe<C> = { readonly [K in keyof C]: C[K] & { readonly optional: true } };

/** Names stored columns of bundled ops. */
export const known = <Name extends keyof KnownColumns>(...names: readonly Name[]): Known<Name> =>
  pick(knownColumns, names);

/** Names columns in flow of bundled ops. */
export const flow = <Name extends keyof FlowColumns>(...names: readonly Name[]): Flow<Name> => pick(flowColumns, names);

/** Makes columns optional. */
export const maybe = <C extends object>(columns: C): Maybe<C> =>
  Object.fromEntries(Object.entries(columns).map(([name, spec]) => [name, { ...spec, optional: true }])) as Maybe<C>;

const pick = <C extends object, Name extends keyof C>(columns: C, names: readonly Name[]): Pick<C, Name> =>
  Object.fromEntries(names.map((name) => [name, columns[name]])) as Pick<C, Name>;
