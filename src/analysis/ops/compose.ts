/** @file Composition: ops one after the other, as one op. */
import type { Columns, ColumnSpec, FlowSpec, Held, OpColumns } from "../tables/columns.ts";
import { AnalysisError } from "../errors.ts";
import { runAlone, type AnyOp, type Op, type Step } from "./op.ts";

/** Stands in a compile error for an op that lacks a column where it is run, or finds another kind of values in it. */
export interface MissingInput<Name> {
  readonly missingInput: Name;
}

type OptionalNames<C extends OpColumns> = {
  [K in keyof C]: C[K] extends { readonly optional: true } ? K : never;
}[keyof C];
type RequiredNames<C extends OpColumns> = Exclude<keyof C, OptionalNames<C>>;
type Override<A, B> = Omit<A, keyof B> & B;
type Fits<Have, Wanted> = Have extends ColumnSpec | FlowSpec
  ? Wanted extends ColumnSpec | FlowSpec
    ? Held<Have> extends Held<Wanted>
      ? true
      : false
    : false
  : false;
type Misread<In extends OpColumns, Have> = {
  [K in RequiredNames<In> & keyof Have]: Fits<Have[K], In[K]> extends true ? never : K;
}[RequiredNames<In> & keyof Have];

type Checked<Members, Have = unknown> = Members extends readonly [infer First, ...infer Rest]
  ? First extends AnyOp
    ? [
        [Misread<First["input"], Have>] extends [never] ? First : MissingInput<Misread<First["input"], Have>>,
        ...Checked<Rest, Override<Have, First["leaves"]>>,
      ]
    : [never]
  : [];

type Stored<C> = {
  readonly [
    K in keyof C as C[K] extends { readonly holds: string } | { readonly intermediate: true } ? never : K
  ]: C[K] extends ColumnSpec ? C[K] : never;
};
type AsColumns<C> = C extends OpColumns ? C : never;
type Flat<T> = { readonly [K in keyof T]: T[K] };
type AllOutputs<Members, Have = unknown> = Members extends readonly [infer First, ...infer Rest]
  ? First extends AnyOp
    ? AllOutputs<Rest, Override<Have, First["leaves"]>>
    : never
  : Have;
/** What the first reads, then what the second reads, too: required where one of them requires it. */
type Also<A, B> = Omit<A, keyof B> & {
  [K in keyof B]: K extends keyof A ? (B[K] extends { readonly optional: true } ? A[K] : B[K]) : B[K];
};
type OpenInputs<Members, Have = unknown, Open = unknown> = Members extends readonly [infer First, ...infer Rest]
  ? First extends AnyOp
    ? OpenInputs<Rest, Have & First["leaves"], Also<Open, Omit<First["input"], keyof Have>>>
    : never
  : Open;

/** Columns that must be there before an op runs by itself; never where it finds all it needs, or nobody knows. */
export type OpenColumns<O> = O extends { readonly input: infer In extends OpColumns }
  ? string extends keyof In
    ? never
    : RequiredNames<In>
  : never;

/** The op that members make: the columns they do not find among earlier ones in, the union of theirs out. */
export type Composite<Members extends readonly AnyOp[], Name extends string = string> = Op<
  AsColumns<Flat<OpenInputs<Members>>>,
  AsColumns<Stored<AllOutputs<Members>>>,
  never,
  Name,
  AsColumns<Flat<AllOutputs<Members>>>
>;

/** What a composition is called. */
export interface CompositeNames {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly description?: string;
}

/**
 * Ops one after the other. Each reads what those before it wrote, also inside a member that is a composition: nested and
 * flat chains are the same. What is intermediate is dropped at the end of the whole. Columns that no member before gives are
 * those that the composition reads, as every op does: from the chain it becomes a part of, or from whoever runs it; one that
 * is run without them does not compile, nor does a member that finds another kind of values in a column.
 * @returns an op called after its members
 * @example
 * compose(ops.labelsToIds, ops.modelFwd, ops.logitDiffs).name; // "labels_to_ids.model_fwd.logit_diffs"
 */
export function compose<const Members extends readonly [AnyOp, ...AnyOp[]]>(
  ...members: Members & Checked<Members>
): Composite<Members> {
  return composeAll(members) as Composite<Members>;
}

/** The same of members known at run time only. @internal */
export const composeAll = (members: readonly AnyOp[]): Op => sequence({ name: compositionOf(members) }, members);

/**
 * The same under a name of its own.
 * @example
 * const mine = composite({ name: "mine", description: "the plain model" }, ops.labelsToIds, ops.modelFwd, ops.logitDiffs);
 */
export function composite<const Members extends readonly [AnyOp, ...AnyOp[]], const Name extends string>(
  names: CompositeNames & { readonly name: Name },
  ...members: Members & Checked<Members>
): Composite<Members, Name> {
  return sequence(names, members) as Composite<Members, Name>;
}

/** The text of a composition: names with dots in parentheses, but for members that are called after theirs. */
const compositionOf = (members: readonly AnyOp[]): string =>
  members.map(({ name, steps }) => (name.includes(".") && name !== chainOf(steps) ? `(${name})` : name)).join(".");

const chainOf = (steps: readonly Step[]): string =>
  steps.map(({ name }) => (name.includes(".") ? `(${name})` : name)).join(".");

/** Members known at run time only. @internal */
export function sequence(
  { name, aliases = [], description = "", where }: CompositeNames & { readonly where?: string },
  members: readonly AnyOp[],
): Op {
  const input: Record<string, ColumnSpec | FlowSpec> = {};
  const output = new Map<string, ColumnSpec | FlowSpec>();
  for (const member of members) {
    for (const [column, spec] of Object.entries(member.input)) {
      const known = input[column];
      if (!output.has(column) && (known === undefined || known.optional === true)) input[column] = spec;
    }
    for (const [column, spec] of Object.entries(member.leaves)) {
      output.delete(column);
      output.set(column, spec);
    }
  }
  const kept = [...output].filter(([, spec]) => "per" in spec && spec.intermediate !== true);
  const steps = members.flatMap((member) => member.steps);
  const made: Op = {
    name,
    aliases,
    description: description === "" ? `${compositionOf(members)}` : description,
    input,
    output: Object.fromEntries(kept),
    leaves: Object.fromEntries(output),
    requires: [...new Set(members.flatMap((member) => member.requires))],
    requiresGradient: members.some((member) => member.requiresGradient),
    perLatentPreds: members.some((member) => member.perLatentPreds),
    where,
    steps,
    run: async (columns, on) => {
      const all: Columns = await runAlone(steps, columns, on);
      return Object.fromEntries(kept.map(([column]) => [column, all[column]]));
    },
    with: (given) => {
      throw new AnalysisError(`${name} is a composition and has no parameters`, {
        code: "analysis/params",
        received: JSON.stringify(given),
        hint: "give them to its members",
      });
    },
  };
  return made;
}
