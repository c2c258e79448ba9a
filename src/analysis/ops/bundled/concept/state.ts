/** @file `extract_concept_latent_state`: the activation that stands for an example. */
import { z } from "zod";
import {
  and,
  cast,
  constant,
  div,
  greaterEqual,
  maximum,
  mul,
  reshape,
  sub,
  sum,
  unsqueeze,
  where,
  type Dim,
  type Tensor,
} from "../../../../graph/index.ts";
import { flow, known, type Flow, type Known } from "../known.ts";
import { defineOp, type Op, type OpContext } from "../../op.ts";
import { atAnswer } from "../sae.ts";
import { contextColumn, stateColumn } from "./columns.ts";
import { resolveHooks } from "./hookNames.ts";

/** How states are read. */
export interface ConceptStateParams {
  /** The hook point. Default `unembed.hook_in`. */
  conceptCacheKey?: string;
  /** Relate the answer's state to that of its context. Default false. */
  contextEnhanced?: boolean;
  /** Factor of the answer's state in that. Default 1. */
  contextScale?: number;
  /** Project the context's state onto the answer's, not the answer's onto the context's. Default false. */
  useAnswerStateAsBasis?: boolean;
}

const params: z.ZodType<Required<ConceptStateParams>, ConceptStateParams> = z.strictObject({
  conceptCacheKey: z.string().default("unembed.hook_in"),
  contextEnhanced: z.boolean().default(false),
  contextScale: z.number().default(1),
  useAnswerStateAsBasis: z.boolean().default(false),
});

/** The smallest square a projection divides by. */
export const smallest = 1e-12;

/** (u·v) / max(v·v, 1e-12) · v for each row of [batch, d]. */
function project(u: Tensor, v: Tensor): Tensor {
  const share = div(sum(mul(u, v), -1), maximum(sum(mul(v, v), -1), smallest)); // [batch]
  return mul(unsqueeze(share, -1), v);
}

/** [batch, pos, …] with the axes of a position merged. */
function flatten(x: Tensor): Tensor {
  const width = x.shape
    .slice(2)
    .reduce<Dim>((a, b) => (typeof a === "number" && typeof b === "number" ? a * b : NaN), 1);
  return x.rank > 3 ? reshape(x, [...x.shape.slice(0, 2), width]) : x;
}

/** The token before the answer; −1 where that is padding. */
function before(positions: Tensor, { tokens }: OpContext): Tensor {
  const previous = sub(positions, 1); // [batch]
  if (tokens.keyMask === undefined) return previous;
  const real = atAnswer(tokens.keyMask, maximum(previous, 0)); // [batch]
  return where(and(greaterEqual(previous, 0), real), previous, -1);
}

/**
 * `extract_concept_latent_state` (`concept_latent_state_from_cache`): the value of a hook point at the answer position,
 * [batch, d], axes of a position merged; a cache of rank 2 is taken whole. With `contextEnhanced`, s = contextScale ·
 * state is projected onto the state of the context token (or that one onto s); rows without a context stay as they are.
 */
export const extractConceptLatentState: Op<
  Flow<"cache"> & Known<"answer_indices"> & typeof contextColumn,
  typeof stateColumn,
  ConceptStateParams
> = defineOp({
  name: "extract_concept_latent_state",
  aliases: ["concept_latent_state_from_cache"],
  description: "The activation at the answer position that stands for the example.",
  input: { ...flow("cache"), ...known("answer_indices"), ...contextColumn },
  output: stateColumn,
  params,
  run: ({ cache, answer_indices, context_token_indices }, context) => {
    const { conceptCacheKey, contextEnhanced, contextScale, useAnswerStateAsBasis } = context.params;
    const [key] = resolveHooks(conceptCacheKey, Object.keys(cache));
    const values = cast(flatten(cache[key!]!), "float32");
    if (values.rank === 2) return { concept_latent_state: values };
    const state = atAnswer(values, answer_indices); // [batch, d]
    if (!contextEnhanced) return { concept_latent_state: state };
    const positions = context_token_indices ?? before(answer_indices, context);
    const own = atAnswer(values, maximum(positions, 0));
    const scaled = mul(state, contextScale);
    const related = useAnswerStateAsBasis ? project(own, scaled) : project(scaled, own);
    const valid = unsqueeze(greaterEqual(positions, constant(0, positions.dtype)), -1); // [batch, 1]
    return { concept_latent_state: where(valid, related, state) };
  },
});
