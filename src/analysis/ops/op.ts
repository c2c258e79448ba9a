/** @file Ops: typed steps from a batch's columns to further columns. */
import type { ZodType } from "zod";
import { Tensor } from "../../graph/index.ts";
import type {
  ColumnData,
  Columns,
  ColumnSpec,
  FlowSpec,
  Inputs,
  LatentTable,
  NoColumns,
  OpColumns,
  Outputs,
  PerLatent,
} from "../tables/columns.ts";
import { AnalysisError } from "../errors.ts";
import { latentTable } from "./latents.ts";
import type { Realize } from "./realizer.ts";
import { OpState, type StateSpec } from "./state.ts";
import { openBatch, type AnalysisBatch, type OpSetting, type Work } from "./work.ts";

/** What an op cannot do without. */
export type Capability = "saes" | "tokenizer";

/** What an op runs in: a batch at work, with the op's own parameters and state. */
export interface OpContext<Params = unknown, State extends object = object> extends Work {
  readonly params: Params;
  /** The declared fields; nothing else can be read or written. */
  readonly state: State;
  /**
   * Computes a tree of tensors where the next step depends on data. Ops that run side by side are waited for, and what
   * all of them need is computed together.
   */
  readonly realize: Realize;
  /** The active latents behind a column `alive_latents`. */
  readonly latents: (alive: PerLatent) => Promise<LatentTable>;
}

/** What an op is made of. */
export interface OpDefinition<In extends OpColumns, Out extends OpColumns, Given, Params, State extends object> {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly description: string;
  readonly input: In;
  readonly output: Out;
  readonly requires?: readonly Capability[];
  /** It differentiates. */
  readonly requiresGradient?: boolean;
  /** Its predictions are those of runs with one latent changed. */
  readonly perLatentPreds?: boolean;
  /** Parameters with their defaults. */
  readonly params?: ZodType<Params, Given>;
  readonly state?: StateSpec<State>;
  readonly run: (inputs: Inputs<In>, context: OpContext<Params, State>) => Outputs<Out> | Promise<Outputs<Out>>;
}

/** One op of a chain, types forgotten. @internal */
export interface Step {
  readonly name: string;
  readonly input: OpColumns;
  readonly output: OpColumns;
  readonly requires: readonly Capability[];
  readonly requiresGradient: boolean;
  readonly state: StateSpec | undefined;
  readonly params: unknown;
  /** The text of what it runs: part of what its results are made from. */
  readonly source: string;
  readonly run: (columns: Columns, context: OpContext) => Promise<Columns>;
}

/** An op whose columns are known at run time only: one that was found by its name. */
export interface AnyOp<Name extends string = string> {
  readonly name: Name;
  readonly aliases: readonly string[];
  readonly description: string;
  /** Columns it reads. */
  readonly input: OpColumns;
  /** Columns it writes; of a composition, those that are not intermediate. */
  readonly output: OpColumns;
  /** Everything that the next op of a chain finds: of a composition, what is intermediate as well. */
  readonly leaves: OpColumns;
  readonly requires: readonly Capability[];
  readonly requiresGradient: boolean;
  readonly perLatentPreds: boolean;
  /** Where it is written, for errors; undefined for one of a program. */
  readonly where?: string | undefined;
  /** The ops that it is made of, in order; itself where it is not a composition. @internal */
  readonly steps: readonly Step[];
  /**
   * The same op with other parameters.
   * @throws AnalysisError naming the parameter that is wrong
   */
  with(params: object): AnyOp;
}

/** A typed step from columns to columns. */
export interface Op<
  In extends OpColumns = OpColumns,
  Out extends OpColumns = OpColumns,
  Params extends object = never,
  Name extends string = string,
  Leaves extends OpColumns = Out,
> extends AnyOp<Name> {
  readonly input: In;
  readonly output: Out;
  readonly leaves: Leaves;
  /**
   * Runs on a batch. Columns of the result are expressions where nothing had to be computed: realize what is wanted.
   * @throws AnalysisError naming the op and the column that is missing, or what the op needs and the setting lacks
   */
  run(columns: Outputs<In>, on: Work | (OpSetting & { readonly batch: AnalysisBatch })): Promise<Outputs<Out>>;
  with(params: Params): Op<In, Out, Params, Name, Leaves>;
}

/**
 * An op of one's own.
 * @param definition columns in and out by name; `run` gets the columns it declares and returns those it promises
 * @example
 * const confidence = defineOp({
 *   name: "answer_confidence",
 *   description: "How much likelier the right answer is.",
 *   input: { logit_diffs: { per: "example", type: "float32", description: "from logit_diffs" } },
 *   output: { confidence: { per: "example", type: "float32", description: "between 0 and 1" } },
 *   run: ({ logit_diffs }) => ({ confidence: sigmoid(logit_diffs) }),
 * });
 * const analysis = compose(ops.logitDiffsBase, confidence);
 */
export function defineOp<
  const In extends OpColumns,
  const Out extends OpColumns,
  Given extends object = never,
  Params = unknown,
  State extends object = object,
  const Name extends string = string,
>(definition: OpDefinition<In, Out, Given, Params, State> & { readonly name: Name }): Op<In, Out, Given, Name> {
  const bind = (params: unknown): Op<In, Out, Given, Name> => {
    const { name, aliases = [], description, input, output, requires = [], state } = definition;
    const { requiresGradient = false, perLatentPreds = false } = definition;
    const step: Step = {
      name,
      input,
      output,
      requires,
      requiresGradient,
      state: state,
      params,
      source: definition.run.toString(),
      run: async (columns, context) => definition.run(columns as Inputs<In>, context as OpContext<Params, State>),
    };
    return {
      ...{ name, aliases, description, input, output, requires, requiresGradient, perLatentPreds },
      leaves: output,
      steps: [step],
      run: async (columns, on) => (await runAlone([step], columns, on)) as Outputs<Out>,
      with: (given) => bind(parse(definition.name, definition.params, given)),
    };
  };
  return bind(definition.params === undefined ? {} : parse(definition.name, definition.params, {}));
}

function parse(op: string, schema: ZodType | undefined, given: unknown): unknown {
  if (schema === undefined)
    throw new AnalysisError(`${op} has no parameters`, { code: "analysis/params", received: JSON.stringify(given) });
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new AnalysisError(`a parameter of ${op} is wrong: ${issue!.message}`, {
    code: "analysis/params",
    where: issue!.path.join(".") || undefined,
  });
}

/**
 * A function of one's own in the place of an op: an explicit analysis step.
 * @param output the columns it promises
 * @example
 * const step = manualStep(
 *   "my_logit_diffs",
 *   { logit_diffs: { per: "example", type: "float32", description: "right minus wrong answer" } },
 *   async (context) => {
 *     const { logits } = context.forward();
 *     return { logit_diffs: logitDiff(logits, context.answers) };
 *   },
 * );
 */
export function manualStep<const Out extends OpColumns, const Name extends string = string>(
  name: Name,
  output: Out,
  run: (context: OpContext) => Outputs<Out> | Promise<Outputs<Out>>,
): Op<NoColumns, Out, never, Name> {
  return defineOp({ name, description: "a manual step", input: {}, output, run: (_inputs, context) => run(context) });
}

/** Runs steps one after the other, by themselves. @internal */
export function runAlone(
  steps: readonly Step[],
  columns: Columns,
  on: Work | (OpSetting & { readonly batch: AnalysisBatch }),
): Promise<Columns> {
  const work = "forward" in on ? on : openBatch(on, on.batch);
  const state = new OpState();
  return runSteps(steps, columns, work, (step) => stateOf(state, "", step));
}

/** The state of a step in an analysis. @internal */
export const stateOf = (state: OpState, analysis: string, step: Step): object =>
  step.state === undefined ? Object.freeze({}) : state.of(analysis, step.name, step.state);

/**
 * Runs steps one after the other on the columns of a batch.
 * @param realize instead of the batch's own, from the columns so far and a tree
 * @internal
 */
export async function runSteps(
  steps: readonly Step[],
  given: Columns,
  work: Work,
  state: (step: Step) => object,
  realize?: <T>(tree: T, columns: Columns) => Promise<T>,
): Promise<Columns> {
  let columns = given;
  for (const step of steps) {
    requireCapabilities(step, work);
    const before = columns;
    const ask: Realize = realize === undefined ? work.realize : (tree) => realize(tree, before);
    const context: OpContext = {
      ...work,
      params: step.params,
      state: state(step),
      realize: ask,
      latents: async (alive) => latentTable(await ask(alive), work.targets, work.tokens.batchSize),
    };
    work.signal?.throwIfAborted();
    const made = await run(step, inputsOf(step, columns, work), context);
    checkOutputs(step, made);
    columns = { ...columns, ...made };
  }
  return columns;
}

function requireCapabilities(step: Step, { saes, model }: Work): void {
  const has: { readonly [C in Capability]: boolean } = { saes: saes.length > 0, tokenizer: model.hasTokenizer };
  const missing = step.requires.find((capability) => !has[capability]);
  if (missing === undefined) return;
  const words = { saes: "at least one SAE", tokenizer: "a model with a tokenizer" };
  throw new AnalysisError(`${step.name} needs ${words[missing]}`, {
    code: missing === "saes" ? "analysis/no-saes" : "analysis/capability",
    where: step.name,
  });
}

const gradientFaults = ["graph/no-path", "graph/not-differentiable", "model/gradient-cut"];

async function run(step: Step, inputs: Columns, context: OpContext): Promise<Columns> {
  try {
    return await step.run(inputs, context);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (!step.requiresGradient || !gradientFaults.includes(String(code))) throw error;
    throw new AnalysisError(`${step.name} needs gradients, and there are none here`, {
      code: "analysis/capability",
      where: step.name,
      cause: error,
    });
  }
}

/** The columns that a step reads, numbers as leaves. */
function inputsOf(step: Step, columns: Columns, work: Work): Columns {
  const found: Record<string, ColumnData> = {};
  for (const [name, spec] of Object.entries(step.input)) {
    const value = Object.hasOwn(columns, name) ? columns[name] : undefined;
    if (value !== undefined && value !== null) found[name] = held(step, name, spec, value, work);
    else if (spec.optional !== true) throw missing(step, name, Object.keys(columns), step.name);
  }
  return found;
}

const missing = (step: Step, name: string, there: Iterable<string>, where: string): AnalysisError =>
  new AnalysisError(`Missing required analysis input '${name}' for ${step.name}`, {
    code: "analysis/missing-input",
    where,
    received: [...there].join(", ") || "no columns",
    hint: step.input[name]!.description,
  });

/**
 * What can be known before an op runs.
 * @param given the columns that are there then
 * @throws AnalysisError naming the op and the column that nobody before it gives
 * @internal
 */
export function requireInputs({ name, where = name, steps }: AnyOp, given: readonly string[] = []): void {
  const there = new Set(given);
  for (const step of steps) {
    for (const [column, { optional }] of Object.entries(step.input))
      if (optional !== true && !there.has(column)) throw missing(step, column, there, where);
    for (const column of Object.keys(step.output)) there.add(column);
  }
}

/** Whether a column holds an expression. */
const isNumeric = (spec: ColumnSpec | FlowSpec): boolean =>
  "holds" in spec
    ? spec.holds === "tensor"
    : spec.per !== "latent" && (spec.type === "float32" || spec.type === "int32" || spec.type === "bool");

function held(step: Step, name: string, spec: ColumnSpec | FlowSpec, value: ColumnData, work: Work): ColumnData {
  if (!isNumeric(spec) || value instanceof Tensor) return value;
  const lifted =
    typeof value === "object" && value !== null ? work.lift(name, spec, value) : scalar(work, name, spec, value);
  if (lifted !== undefined) return lifted;
  throw new AnalysisError(`column ${name} is not what ${step.name} reads`, {
    code: "analysis/column",
    where: step.name,
    expected: "numbers, or lists of numbers of one length",
  });
}

function scalar(work: Work, name: string, spec: ColumnSpec | FlowSpec, value: ColumnData): Tensor | undefined {
  if (typeof value !== "number" && typeof value !== "boolean") return undefined;
  return work.lift(name, spec, [Number(value)])?.reshape([]);
}

function checkOutputs(step: Step, made: Columns): void {
  for (const [name, spec] of Object.entries(step.output))
    if ((made[name] === undefined || made[name] === null) && spec.optional !== true)
      throw new AnalysisError(`${step.name} did not give its column '${name}'`, {
        code: "analysis/missing-output",
        where: step.name,
        received: Object.keys(made).join(", ") || "no columns",
      });
  const other = Object.keys(made).find((name) => !Object.hasOwn(step.output, name));
  if (other !== undefined)
    throw new AnalysisError(`${step.name} gives a column that it does not declare`, {
      code: "analysis/undeclared-output",
      where: step.name,
      expected: Object.keys(step.output).join(", "),
      received: other,
    });
}
