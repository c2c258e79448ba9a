/** @file The columns of the bundled ops. */

import { answerColumns, effectColumns } from "../../tables/known.ts";

/** Which latents are active. */
const activityColumns = {
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
} as const;

type KnownColumns = typeof answerColumns & typeof activityColumns & typeof effectColumns;

/** Columns that bundled ops read and write, by name; an op names those it means. */
const knownColumns: KnownColumns = { ...answerColumns, ...activityColumns, ...effectColumns };

/** Columns that ops hand to each other. */
const flowColumns = {
  answer_logits: { holds: "tensor", description: "logits [batch, pos, d_vocab]; from model_fwd" },
  cache: { holds: "hooks", description: "activations by hook point; from a caching forward pass" },
  grad_cache: { holds: "hooks", description: "derivatives of the summed logit differences by hook point" },
} as const;

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
