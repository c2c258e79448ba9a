/** @file From what is asked for to what is run: cfgs as ops with their hooks, inputs and declarations. */
import type { Json, JsonObject } from "../../formats/index.ts";
import { compileFilter, filterText } from "../../model/hooks/filter.ts";
import type { AnalysisModule } from "../../session/index.ts";
import { hooksOf } from "../engine/targets.ts";
import { AnalysisError } from "../errors.ts";
import { bundledOps, type AnyOp, type OpTable } from "../ops/index.ts";
import { requireInputs } from "../ops/op.ts";
import { storedColumns } from "../ops/results.ts";
import type { HookInfo } from "../tables/index.ts";
import { resolveCfg, type AnalysisCfg } from "./cfg.ts";
import { hookConfig, hookOptions, type HookOptions } from "./hookOptions.ts";
import { givenInputs } from "./inputStore.ts";
import { entryFor, type PlannedAnalysis } from "./planned.ts";
import { inputsConfig, savedInputs } from "./savedInputs.ts";
import { LatentAnalysisTargets, type TargetOptions } from "./targets.ts";

/** What cfgs are planned in. */
export interface Planning {
  readonly module: AnalysisModule;
  readonly ops: OpTable;
  /** Hooks of the run. */
  readonly hooks: readonly HookInfo[];
  /** Those of the run, below those of a cfg. */
  readonly options: HookOptions;
  readonly ignoreManual: boolean;
  readonly warn: (message: string) => void;
}

export const targetsOf = (targets: LatentAnalysisTargets | TargetOptions): LatentAnalysisTargets =>
  targets instanceof LatentAnalysisTargets ? targets : new LatentAnalysisTargets(targets);

/** The hooks that targets name; all, where there are none. */
export function reportedHooks(
  { model, saes = [] }: AnalysisModule,
  targets: LatentAnalysisTargets | undefined,
): HookInfo[] {
  return targets === undefined ? hooksOf(model, saes).map(({ info }) => info) : targets.resolve(model, saes);
}

/**
 * Cfgs as analyses that can be run.
 * @throws AnalysisError when two have one name, one lacks SAEs, columns or something to run, or its filter names nothing
 */
export async function plannedAnalyses(wanted: readonly AnalysisCfg[], planning: Planning): Promise<PlannedAnalysis[]> {
  const planned: PlannedAnalysis[] = [];
  for (const cfg of wanted) {
    const next = await plannedAnalysis(cfg, planning);
    if (planned.some(({ entry }) => entry.name === next.entry.name))
      throw new AnalysisError("two analyses have one name", {
        code: "analysis/name-twice",
        received: next.entry.name,
        hint: "give one of them another name: analysisCfg({ targetOp, name })",
      });
    planned.push(next);
  }
  return planned;
}

async function plannedAnalysis(cfg: AnalysisCfg, planning: Planning): Promise<PlannedAnalysis> {
  const { module, ops, hooks, options, ignoreManual, warn } = planning;
  const { name, op, manual } = resolveCfg(cfg, ops, module, ignoreManual);
  if (manual !== undefined && cfg.targetOp !== undefined)
    warn(`${name}: a step of one's own is run instead of the op; ignoreManual runs the op`);
  if (op.requires.includes("saes") && (module.saes ?? []).length === 0)
    throw new AnalysisError(`${name} needs at least one SAE`, {
      code: "analysis/no-saes",
      hint: "give the session SAEs, or ask for logit_diffs_base alone",
    });
  const own = ownHooks(cfg, name, op, planning);
  const inputs = savedInputs(cfg, module);
  const given = await givenInputs(cfg, op, own ?? hooks);
  if (given === undefined) requireInputs(op);
  const config = { ...given?.config, ...inputsConfig(cfg), ...hookConfig(cfg), ...chainConfig(op, ops, manual) };
  const entry = entryFor(op, name, inputs, {
    hooks: own,
    config: Object.keys(config).length > 0 ? config : undefined,
  });
  return { entry, op, inputs, hookOptions: hookOptions(cfg, options), given: given?.given };
}

/**
 * The hooks whose latents an analysis reports, where they are not the run's.
 * @throws AnalysisError where its names filter leaves none for an op with latents
 */
function ownHooks(
  cfg: AnalysisCfg,
  name: string,
  op: AnyOp,
  { module, hooks, options }: Planning,
): readonly HookInfo[] | undefined {
  const targets = cfg.targets === undefined ? undefined : reportedHooks(module, targetsOf(cfg.targets));
  const { namesFilter = options.namesFilter } = cfg;
  if (namesFilter === undefined) return targets;
  const named = compileFilter(namesFilter);
  const all = targets ?? hooks;
  const own = all.filter((hook) => named(hook.name));
  const latents = Object.values(storedColumns(op.output)).some(({ per }) => per === "latent");
  if (own.length > 0) return own;
  if (!(latents && op.requires.includes("saes"))) return targets;
  throw new AnalysisError(`no latents of ${name} match its names filter`, {
    code: "analysis/names-filter",
    expected: all.map((hook) => hook.name).join(", "),
    received: filterText(namesFilter),
  });
}

/** The chain of an op where its name does not say it all: parameters, and the text of what is not bundled. */
function chainConfig(op: AnyOp, table: OpTable, manual: string | undefined): JsonObject {
  const known = bundledOps.has(op.name) && bundledOps.find(op.name) === op;
  if (known && table.has(op.name)) return {};
  if (manual !== undefined) return { step: manual };
  const bundled = new Map(bundledOps.ops.flatMap(({ steps }) => steps.map((step) => [step.name, step.source])));
  return {
    chain: op.steps.map(({ name, params, source }): Json => ({
      op: name,
      params: JSON.parse(JSON.stringify(params ?? {})) as Json,
      ...(bundled.get(name) !== source && { source }),
    })),
  };
}
