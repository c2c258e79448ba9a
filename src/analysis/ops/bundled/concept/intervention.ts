/** @file `model_fwd_intervention`: the model with and without changes to activations of its last token. */
import { z } from "zod";
import {
  cast,
  equal,
  leaf,
  range,
  sameDim,
  squeeze,
  takeRows,
  Tensor,
  unsqueeze,
  where,
  type NestedNumbers,
} from "../../../../graph/index.ts";
import type { HookSpec } from "../../../../model/index.ts";
import { spliceHooks } from "../../../../sae/index.ts";
import { int64 } from "../../../engine/answers.ts";
import { AnalysisError } from "../../../errors.ts";
import { maybe, type Maybe } from "../known.ts";
import { defineOp, type Op, type OpContext } from "../../op.ts";
import { concept, type Concept } from "./columns.ts";
import { resolveHooks } from "./hookNames.ts";
import { fitsMode, intervene, type InterventionMode, type Plain } from "./interventions.ts";

export type { NestedNumbers };
/** Numbers, nested as their dimensions are, or a tensor. */
export type InterventionTensor = Tensor | Float32Array | readonly NestedNumbers[];

/** What is done at some hook points. */
export interface InterventionPayload {
  /**
   * What stretches to the hook point's dimensions at one position; two of them for `patch`. For a pattern with n matches
   * also n of them, in the order of the forward pass. Default: the concept direction.
   */
  tensor?: InterventionTensor | readonly Tensor[];
  /**
   * With activation h of the last token, tensor v and scale s: `replace`: v. `add` (default): h + s·v. `project`: s times
   * the projection of h onto v. `patch`: what h has of the first of two vectors it gets of the second, times s, and the
   * other way round; the rest stays.
   */
  mode?: InterventionMode;
  /** Default 1. */
  scale?: number;
  /** For `project`: false projects v onto h. Default true. */
  useInterventionTensorAsBasis?: boolean;
}

/** Which interventions, and which tokens are looked at. */
export interface InterventionParams extends InterventionPayload {
  /** By pattern of hook points. Several of one pattern act in order. Without it, the other parameters name one. */
  interventions?: Readonly<Record<string, InterventionPayload | readonly InterventionPayload[]>>;
  /** Default `unembed.hook_in`. */
  hook?: string;
  /** Tokens whose logits are compared. Default: those of the concept's groups, else all. */
  targetIds?: readonly number[];
  /** Run with SAEs in place, whose points can then be intervened at. Default false. */
  useLatentModels?: boolean;
}

const numbers: z.ZodType<readonly NestedNumbers[]> = z.array(z.union([z.number(), z.lazy(() => numbers)]));
const payload = {
  tensor: z
    .union([z.instanceof(Tensor), z.instanceof(Float32Array), numbers, z.array(z.instanceof(Tensor))])
    .optional(),
  mode: z.enum(["replace", "add", "project", "patch"]).default("add"),
  scale: z.number().default(1),
  useInterventionTensorAsBasis: z.boolean().default(true),
};
const one = z.strictObject(payload);
const schema = z.strictObject({
  ...payload,
  interventions: z.record(z.string(), z.union([one, z.array(one)])).optional(),
  hook: z.string().default("unembed.hook_in"),
  targetIds: z.array(z.int().nonnegative()).readonly().optional(),
  useLatentModels: z.boolean().default(false),
});
type Params = z.output<typeof schema>;
type Payload = z.output<typeof one>;

type Input = Maybe<Concept<"concept_direction" | "concept_group_a_ids" | "concept_group_b_ids">>;

/**
 * `model_fwd_intervention` (`direction_intervention`, `direct_concept_direction_intervention`): two forward passes, the
 * second with interventions at the last token of each row. Patterns may hold `*` and may be written as TransformerLens'
 * bridge writes them (`blocks.0.hook_in` for `blocks.0.hook_resid_pre`).
 */
export const modelFwdIntervention: Op<
  Input,
  Concept<"pre_intervention_logits" | "post_intervention_logits" | "logit_diff">,
  InterventionParams
> = defineOp({
  name: "model_fwd_intervention",
  aliases: ["direction_intervention", "direct_concept_direction_intervention"],
  description: "The last token's logits with and without interventions.",
  input: maybe(concept("concept_direction", "concept_group_a_ids", "concept_group_b_ids")),
  output: concept("pre_intervention_logits", "post_intervention_logits", "logit_diff"),
  params: schema as z.ZodType<Params, InterventionParams>,
  run: async (inputs, context) => {
    const { params, tokens, model, saes, splice } = context;
    if (params.useLatentModels && saes.length === 0)
      throw new AnalysisError("model_fwd_intervention with useLatentModels needs at least one SAE", {
        code: "analysis/no-saes",
        where: "model_fwd_intervention",
      });
    const splices = params.useLatentModels ? spliceHooks(saes, splice) : undefined;
    const last = leaf(int64(tokens.lastPositions), [tokens.batchSize, 1], {
      shape: [tokens.batch, 1],
      name: "last positions",
    });
    const points = model.trace(tokens, { splices, capture: () => true }).hooks;
    const specs = await asked(params, inputs.concept_direction, context);
    const hooks = specs.flatMap(([pattern, tensor, spec]) => hooksOf(pattern, tensor, spec, points, last, context));
    const lastOf = (logits: Tensor): Tensor => squeeze(takeRows(logits, last), 1).slice(0, 0, 1); // [1, d_vocab]
    const done = await context.realize({
      pre: lastOf(context.forward({ spliced: params.useLatentModels }).logits),
      post: lastOf(model.trace(tokens, { splices, hooks }).logits),
      a: inputs.concept_group_a_ids,
      b: inputs.concept_group_b_ids,
    });
    const [pre, post] = [done.pre, done.post].map((x) => x.data as Float32Array) as [Float32Array, Float32Array];
    const named = params.targetIds ?? [...(done.a?.toArray() ?? []), ...(done.b?.toArray() ?? [])];
    const ids = named.length > 0 ? named : [...pre.keys()];
    const changes = ids.map((id) => post[id]! - pre[id]!);
    return {
      pre_intervention_logits: pre,
      post_intervention_logits: post,
      logit_diff: changes.reduce((total, x) => total + x, 0) / ids.length,
    };
  },
});

type Spec = readonly [pattern: string, tensor: readonly Plain[], payload: Payload];

/** All interventions with their tensors as data: one, or one for each match. */
async function asked(params: Params, direction: Tensor | undefined, context: OpContext): Promise<Spec[]> {
  const { interventions, hook, tensor, mode, scale, useInterventionTensorAsBasis } = params;
  const shorthand = { [hook]: { tensor, mode, scale, useInterventionTensorAsBasis } };
  const entries = Object.entries(interventions ?? shorthand).flatMap(([pattern, value]) =>
    (Array.isArray(value) ? value : [value]).map((spec) => [pattern, spec] as const),
  );
  return Promise.all(
    entries.map(async ([pattern, spec]): Promise<Spec> => {
      const given = spec.tensor ?? direction;
      if (given === undefined)
        throw new AnalysisError("an intervention has no tensor", {
          code: "analysis/intervention",
          where: pattern,
          hint: "give `tensor`, or compose it after concept_direction",
        });
      return [pattern, await plainOf(given, context), spec];
    }),
  );
}

async function plainOf(given: NonNullable<Payload["tensor"]>, context: OpContext): Promise<Plain[]> {
  if (given instanceof Tensor) {
    const done = await context.realize(cast(given, "float32"));
    return [{ dims: done.dims, data: done.data as Float32Array }];
  }
  if (given instanceof Float32Array) return [{ dims: [given.length], data: given }];
  if (given.some((x) => x instanceof Tensor)) {
    const done = await context.realize(given as readonly Tensor[]);
    return done.map((x) => ({ dims: x.dims, data: x.toArray() }));
  }
  return [nested(given as readonly NestedNumbers[])];
}

/** Nested numbers as data: the dimensions are those of the first entries. */
function nested(list: readonly NestedNumbers[]): Plain {
  const inner = list.map((x): Plain => (typeof x === "number" ? { dims: [], data: [x] } : nested(x)));
  const dims = [list.length, ...(inner[0]?.dims ?? [])];
  const data = inner.flatMap((x) => Array.from(x.data));
  if (inner.some((x) => x.dims.length !== inner[0]!.dims.length || x.data.length !== inner[0]!.data.length))
    throw new AnalysisError("the tensor of an intervention has rows of different sizes", {
      code: "analysis/intervention",
    });
  return { dims, data };
}

/** The hooks of one intervention, one for each hook point that its pattern means. */
function hooksOf(
  pattern: string,
  tensors: readonly Plain[],
  spec: Payload,
  points: Readonly<Record<string, Tensor>>,
  last: Tensor,
  { tokens }: OpContext,
): HookSpec[] {
  const names = resolveHooks(pattern, Object.keys(points));
  const own = share(
    pattern,
    tensors,
    spec.mode,
    names.map((name) => points[name]!.shape.slice(2).map(Number)),
  );
  return names.map((name, i): HookSpec => {
    const { shape } = points[name]!;
    if (shape.length < 3 || !sameDim(shape[0]!, tokens.batch) || !sameDim(shape[1]!, tokens.pos))
      throw new AnalysisError("interventions need a hook point with a value for each position", {
        code: "analysis/intervention",
        where: name,
        expected: "[batch, pos, …]",
        received: points[name]!.label,
      });
    const intervention = {
      mode: spec.mode,
      scale: spec.scale,
      tensorAsBasis: spec.useInterventionTensorAsBasis,
      tensor: own[i]!,
    };
    return [
      name,
      (value) => {
        const changed = intervene(takeRows(value, last), intervention, name); // [batch, 1, …]
        const isLast = equal(range(tokens.pos), last); // [batch, pos]
        return where(
          shape.slice(2).reduce((mask) => unsqueeze(mask, -1), isLast),
          changed,
          value,
        );
      },
    ];
  });
}

/** The tensor of each match: the same for all, or one each. */
function share(
  pattern: string,
  tensors: readonly Plain[],
  mode: InterventionMode,
  own: readonly (readonly number[])[],
): readonly Plain[] {
  const n = own.length;
  const [first] = tensors as readonly [Plain];
  if (tensors.length > 1 || !own.every((dims) => fitsMode(first.dims, mode, dims))) {
    const [count = 0, ...rest] = tensors.length > 1 ? [tensors.length] : first.dims;
    if (count === n && pattern.includes("*")) {
      if (tensors.length > 1) return tensors;
      const size = first.data.length / n;
      return own.map((_, i) => ({ dims: rest, data: Array.from(first.data).slice(i * size, (i + 1) * size) }));
    }
    if (tensors.length > 1)
      throw new AnalysisError("an intervention has more tensors than hook points", {
        code: "analysis/intervention",
        where: pattern,
        expected: `${n} tensors`,
        received: String(count),
      });
  }
  return own.map(() => first);
}
