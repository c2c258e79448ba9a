/** @file What is to be run under which name: an op, its text, or a step of one's own. */
import type { Batch } from "../../data/index.ts";
import type { RunConfig } from "../../session/index.ts";
import type { Columns, ColumnSpecs, OpColumns, Outputs } from "../tables/columns.ts";
import { AnalysisError } from "../errors.ts";
import type { HookOptions } from "./hookOptions.ts";
import {
  manualStep,
  type AnyOp,
  type MissingInput,
  type OpContext,
  type OpenColumns,
  type OpTable,
} from "../ops/index.ts";
import { composeAll } from "../ops/compose.ts";
import { storedColumns } from "../ops/results.ts";
import { isAnalysisName, type AnalysisName, type AnalysisResult, type OpResult } from "../tables/index.ts";
import type { AnalysisStore } from "../store/index.ts";
import type { LatentAnalysisTargets, TargetOptions } from "./targets.ts";

/** A step of one's own: columns of a batch, one entry for each row, as data or expressions. */
export type AnalysisStep = (batch: Batch, index: number, context: OpContext) => unknown;

/** An analysis to take columns from: a result, or that of a store (default: its `logit_diffs_sae`). */
export type InputStore =
  | AnalysisResult
  | OpResult
  | AnalysisStore
  | string
  | { readonly store: AnalysisStore | string; readonly analysis: string };

/** How token ids become the texts that are kept with examples. */
export interface DecodeKwargs {
  /** Default true. */
  readonly skipSpecialTokens?: boolean;
  /** Default true. */
  readonly cleanUpTokenizationSpaces?: boolean;
}

/** Hooks, the names filter and the ablation's function go before those of the runner. */
export interface AnalysisCfgOptions<
  Target = AnyOp | string | readonly (AnyOp | string)[],
  Name extends string = string,
> extends HookOptions {
  /** An op, its name or an alias, a composition `a.b.c`, or a list of ops that are composed. */
  readonly targetOp?: Target;
  /** What it is called in the store and among the results. Default: the op's name. */
  readonly name?: Name;
  /** Keep the texts of the examples. Default true. */
  readonly savePrompts?: boolean;
  /** Keep the texts that the token ids decode to, as published. Default: the texts that the data has. */
  readonly decodeKwargs?: DecodeKwargs;
  /** Keep the token ids of the examples. Default true. */
  readonly saveTokens?: boolean;
  /** Answer positions, active latents and other columns that the op takes where they are there already. */
  readonly inputStore?: InputStore;
  /** Columns for the op, the same in every batch. Plain data: it is a part of what the results are made from. */
  readonly runInputs?: Readonly<Record<string, unknown>>;
  /** Columns for the op, batch by batch. They go before `runInputs`. */
  readonly batchInputs?: (batch: Batch) => Columns;
  /** What a step of one's own gives: columns, or the op whose columns it gives. Default: those of `targetOp`. */
  readonly outputSchema?: ColumnSpecs | AnyOp | string;
  /**
   * A step of one's own that stands in for the op: a function, or the name of a method of the session's module. Default,
   * without an op: `analysisStep`.
   */
  readonly stepFn?: AnalysisStep | string;
  /** Default: the runner's. */
  readonly targets?: LatentAnalysisTargets | TargetOptions;
  /** Run the op, whatever `stepFn` says. Default: the runner's. */
  readonly ignoreManual?: boolean;
}

declare const opName: unique symbol;

/** An analysis to run. Its name and that of its op are known as types where they are literals. */
export interface AnalysisCfg<Name extends string = string, OpName extends string = string> extends AnalysisCfgOptions {
  readonly kind: "analysis";
  readonly name?: Name;
  /** @internal */
  readonly [opName]?: OpName;
}

/** Names as they are compared: lower case, `_` for `-`. */
type Plain<Text extends string> = Text extends `${infer Head}-${infer Rest}`
  ? Plain<`${Head}_${Rest}`>
  : Lowercase<Text>;

interface Aliases {
  readonly logit_diffs_latent: "logit_diffs_sae";
  readonly logit_diffs_ablation: "logit_diffs_attr_ablation";
}

/** The name an op has whatever alias it is asked for by. */
type Canonical<Text extends string> = Plain<Text> extends keyof Aliases ? Aliases[Plain<Text>] : Plain<Text>;

/** The name of the op that is asked for. */
export type OpNameOf<T> =
  T extends AnalysisCfg<string, infer OpName>
    ? OpName
    : T extends AnyOp<infer OpName>
      ? OpName
      : T extends readonly [infer Only]
        ? OpNameOf<Only>
        : T extends string
          ? Canonical<T>
          : string;

/** What can be run. */
export type Runnable = AnyOp | AnalysisCfg | string;

/** As it is where all can be run as they are; ops that lack columns stand in the error. */
export type Complete<T> = [OpenColumns<ElementOf<T>>] extends [never] ? T : MissingInput<OpenColumns<ElementOf<T>>>;

/** What a cfg must give to an op that lacks columns. */
type Missing<Target> = [OpenColumns<Target>] extends [never]
  ? unknown
  : | { readonly inputStore: InputStore }
    | { readonly runInputs: Readonly<Record<string, unknown>> }
    | { readonly batchInputs: (batch: Batch) => Columns };

type ElementOf<T> = T extends Runnable ? T : T extends Iterable<infer Element> ? Element : never;
type NameOf<T> = T extends AnalysisCfg<infer Name> ? Name : OpNameOf<T>;
type ResultOf<OpName extends string> = string extends OpName
  ? AnalysisResult | OpResult
  : OpName extends AnalysisName
    ? AnalysisResult
    : OpResult;

/** What a run gives: results by name. */
export type RunResults<T> = { readonly [E in ElementOf<T> as NameOf<E>]: ResultOf<OpNameOf<E>> };

/**
 * What is to be run, with how. As published, `AnalysisCfg`.
 * @example
 * const cfg = analysisCfg({ targetOp: ops.logitDiffsSae, name: "clean", savePrompts: false });
 * analysisCfg({ targetOp: "labels_to_ids.model_fwd.logit_diffs", name: "by_hand" });
 * // Latents at half their activation instead of 0:
 * analysisCfg({
 *   targetOp: ops.logitDiffsAttrAblation,
 *   name: "halved",
 *   ablateLatentFn: (acts, { mask }) => where(mask, mul(acts, 0.5), acts),
 * });
 */
export function analysisCfg<
  const Target extends AnyOp | string | readonly (AnyOp | string)[] | undefined = undefined,
  const Name extends string = Target extends undefined ? "analysis_step" : OpNameOf<Target>,
>(
  options: AnalysisCfgOptions<Target, Name> & Missing<Target>,
): AnalysisCfg<NoInfer<Name>, NoInfer<Target extends undefined ? "analysis_step" : OpNameOf<Target>>> {
  const { targetOp, ...rest }: AnalysisCfgOptions<Target, Name> = options;
  return { kind: "analysis", ...rest, ...(targetOp !== undefined && { targetOp }) };
}

const isOp = (x: unknown): x is AnyOp => typeof x === "object" && x !== null && "steps" in x;
const isCfg = (x: Runnable): x is AnalysisCfg => typeof x === "object" && "kind" in x;

/** One thing to run, or several, as a list. */
export function runnables(analyses: Runnable | Iterable<Runnable>): AnalysisCfg[] {
  const list = typeof analyses === "string" || isOp(analyses) || "kind" in analyses ? [analyses] : [...analyses];
  if (list.length === 0)
    throw new AnalysisError("no analysis was asked for", {
      code: "analysis/none",
      expected: "an op, its name, an analysisCfg, or several of these",
    });
  return list.map((each) => (isCfg(each) ? each : { kind: "analysis", targetOp: each }));
}

/**
 * What `run_cfg` of a session's file asks for: its `analysis_cfgs`, or its `ops` where there are none.
 * @example
 * const { runCfg } = await readSessionFile(["rte.yaml"]);
 * analysisCfgs(runCfg).map(({ targetOp }) => targetOp)[0]; // "logit_diffs_base"
 */
export function analysisCfgs({ ops, analysisCfgs: cfgs }: Pick<RunConfig, "ops" | "analysisCfgs">): AnalysisCfg[] {
  if (cfgs.length === 0) return ops.map((targetOp) => ({ kind: "analysis", targetOp }));
  return cfgs.map((cfg): AnalysisCfg => {
    const { runInputs, targetLayers: _layers, latentAnalysisTargets: _all, ...rest } = cfg;
    const targets = configuredTargets(cfg);
    const given = Object.entries(rest).filter(([, value]) => value !== null);
    return {
      kind: "analysis",
      ...Object.fromEntries(given),
      ...(Object.keys(runInputs).length > 0 && { runInputs }),
      ...(targets !== undefined && { targets }),
    };
  });
}

/**
 * Whose latents a session's file wants reported: its `latent_analysis_targets` and `target_layers`.
 * @returns undefined where it says nothing of it: all of them
 * @example
 * configuredTargets((await readSessionFile(["rte.yaml"])).runCfg); // undefined
 */
export function configuredTargets({
  latentAnalysisTargets: targets,
  targetLayers: layers,
}: Pick<RunConfig, "latentAnalysisTargets" | "targetLayers">): TargetOptions | undefined {
  if (targets === null) return layers === null ? undefined : { layers };
  const { saeFqns, targetLayers, ...rest } = targets;
  const pairs = saeFqns.map(([release = "", saeId = ""]) => [release, saeId] as const);
  return { ...rest, saeFqns: pairs, targetLayers: layers ?? targetLayers };
}

/** What a cfg comes to. */
export interface ResolvedCfg {
  readonly name: string;
  readonly op: AnyOp;
  /** The text of a step of one's own, where one is run. */
  readonly manual: string | undefined;
}

/**
 * The op that a cfg runs: its own, or one around a step of one's own.
 * @throws AnalysisError for an unknown op; `analysis/manual` where there is nothing to run, or a step without columns
 */
export function resolveCfg(cfg: AnalysisCfg, table: OpTable, module: object, ignoreManual: boolean): ResolvedCfg {
  const op = opOf(cfg.targetOp, table);
  const ignore = cfg.ignoreManual ?? ignoreManual;
  if (ignore && op === undefined)
    throw new AnalysisError("manual steps are to be ignored, and there is no op", {
      code: "analysis/manual",
      received: cfg.name,
      hint: "give a targetOp, or leave ignoreManual out",
    });
  const wanted = ignore ? undefined : (cfg.stepFn ?? (op === undefined ? "analysisStep" : undefined));
  // Parentheses around names with dots cannot stand in the name of a folder.
  if (wanted === undefined) return { name: cfg.name ?? op!.name.replaceAll(/[()]/g, ""), op: op!, manual: undefined };
  const step = stepOf(wanted, module);
  const name = cfg.name ?? (typeof wanted === "string" ? "analysis_step" : wanted.name || "analysis_step");
  if (isAnalysisName(name))
    throw new AnalysisError("a step of one's own cannot have the name of one of the four", {
      code: "analysis/manual",
      received: name,
      hint: "give it another name",
    });
  return {
    name,
    op: manualStep(name, schemaOf(cfg, op, table, name), async (context) => {
      const columns = await step(context.batch as Batch, context.batch.index, context);
      if (typeof columns === "object" && columns !== null) return columns as Outputs<OpColumns>;
      throw new AnalysisError("the step gives no columns", {
        code: "analysis/manual",
        where: name,
        expected: "an object with a list for each column",
        received: String(columns),
      });
    }),
    manual: step.toString(),
  };
}

function opOf(target: AnalysisCfg["targetOp"], table: OpTable): AnyOp | undefined {
  if (target === undefined) return undefined;
  if (typeof target === "string") return table.find(target);
  if (isOp(target)) return target;
  const members = target.map((each) => (typeof each === "string" ? table.find(each) : each));
  const [first, ...rest] = members;
  if (first === undefined)
    throw new AnalysisError("a list of ops is empty", { code: "analysis/none", expected: "at least one op" });
  return rest.length === 0 ? first : composeAll(members);
}

function stepOf(wanted: AnalysisStep | string, module: object): AnalysisStep {
  if (typeof wanted === "function") return wanted;
  const found: unknown = Reflect.get(module, wanted);
  if (typeof found === "function")
    return (batch, index, context): unknown => Reflect.apply(found, module, [batch, index, context]) as unknown;
  throw new AnalysisError(`the module has no ${wanted}`, {
    code: "analysis/manual",
    expected: "an op, or a step of one's own",
    hint: "give a targetOp, or a stepFn",
  });
}

/** The columns a step promises. Those of an op that are per latent it may leave out. */
function schemaOf({ outputSchema }: AnalysisCfg, op: AnyOp | undefined, table: OpTable, name: string): OpColumns {
  const from = typeof outputSchema === "string" ? table.find(outputSchema) : (outputSchema ?? op);
  if (from === undefined)
    throw new AnalysisError("nobody says what columns the step gives", {
      code: "analysis/manual",
      where: name,
      hint: "give an outputSchema: columns, or the op whose columns it gives",
    });
  if (!isOp(from)) return from;
  return Object.fromEntries(
    Object.entries(storedColumns(from.output))
      .filter(([, spec]) => spec.per !== "latent")
      .map(([column, spec]) => [column, spec]),
  );
}
