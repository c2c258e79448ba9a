/** @file Which projections low-rank adapters go onto: named as TransformerLens or as PEFT names them. */
import { compileFilter } from "../../model/hooks/filter.ts";
import { isProjection, projectionFiles, type HookedModel } from "../../model/index.ts";
import { TrainError } from "../errors.ts";

/** Names of projections: see {@link LoraOptions.targets}. */
export type LoraTargets = string | readonly string[];

/** Projections with one adapter: one, or those that a file's tensor holds, which share their A as in PEFT. */
export interface LoraTarget {
  /** The TransformerLens name of a single projection, else the module's in the file. */
  readonly name: string;
  /** The module's name in the file; undefined for a model of no Hugging Face family. */
  readonly module: string | undefined;
  readonly params: readonly string[];
}

type Weighted = Pick<HookedModel, "cfg" | "weights">;

/** The modules of a model's files, and its projections one by one, in the order of its weights. */
function targetsIn({ cfg, weights }: Weighted): { readonly modules: LoraTarget[]; readonly singles: LoraTarget[] } {
  const modules = (projectionFiles(cfg) ?? [])
    .filter(({ params }) => params.every((param) => weights.has(param)))
    .map(({ module, params }) => ({ name: params.length === 1 ? params[0]! : module, module, params }));
  const moduleOf = new Map(modules.flatMap(({ module, params }) => params.map((param) => [param, module] as const)));
  const singles = [...weights.keys()]
    .filter(isProjection)
    .map((name) => ({ name, module: moduleOf.get(name), params: [name] }));
  return { modules, singles };
}

/** PEFT's reading of a name: an end of the module's name, or an expression for all of it. */
function moduleTest(pattern: string, isText: boolean): (module: string) => boolean {
  if (!isText) return (module) => module === pattern || module.endsWith(`.${pattern}`);
  if (pattern === "all-linear") return () => true;
  try {
    const expression = new RegExp(`^(?:${pattern})$`);
    return (module) => expression.test(module);
  } catch {
    return () => false;
  }
}

/** What a pattern means: modules, where any is called so, else projections by glob. */
function meant(pattern: string, isText: boolean, { modules, singles }: ReturnType<typeof targetsIn>): LoraTarget[] {
  const isModule = moduleTest(pattern, isText);
  const named = modules.filter(({ module }) => isModule(module!));
  if (named.length > 0) return named;
  if (pattern === "all-linear") return singles;
  const matches = compileFilter(pattern);
  return singles.filter(({ name }) => matches(name));
}

/**
 * The value of the first pattern that a target is called by.
 * @example
 * const target = { name: "blocks.0.attn.W_Q", module: "model.layers.0.self_attn.q_proj", params: ["blocks.0.attn.W_Q"] };
 * patternValue({ q_proj: 4 }, target); // 4
 */
export function patternValue(patterns: Readonly<Record<string, number>>, target: LoraTarget): number | undefined {
  return Object.entries(patterns).find(([pattern]) => isCalled(target, pattern))?.[1];
}

const isCalled = ({ module, params }: LoraTarget, pattern: string): boolean =>
  (module !== undefined && moduleTest(pattern, false)(module)) || params.some(compileFilter(pattern));

/** What PEFT adapts where nobody says: the modules that hold queries or values. */
function usual({ modules, singles }: ReturnType<typeof targetsIn>): LoraTarget[] {
  const all = modules.length > 0 ? modules : singles;
  return all.filter(({ params }) => params.some((param) => /\.attn\.W_[QV]$/.test(param)));
}

/**
 * The targets that names mean, in the order of the model's weights.
 * @throws TrainError for a name that means none, and when nothing is left
 */
export function loraTargets(
  model: Weighted,
  names: LoraTargets | undefined,
  options: { readonly exclude?: LoraTargets | undefined; readonly layers?: readonly number[] | undefined } = {},
): LoraTarget[] {
  const all = targetsIn(model);
  const fail = (received: string): never => {
    const some = [...new Set(all.modules.map(({ module }) => module!.split(".").at(-1)!))];
    throw new TrainError("no projection is called this", {
      code: "train/lora",
      expected: `${some.length > 0 ? `modules (${some.join(", ")}) or ` : ""}globs over ${all.singles
        .slice(0, 4)
        .map(({ name }) => name)
        .join(", ")}, …`,
      received,
    });
  };
  const every = (given: LoraTargets): LoraTarget[] =>
    (typeof given === "string" ? [given] : given).flatMap((pattern) => {
      const found = meant(pattern, typeof given === "string", all);
      return found.length === 0 ? fail(pattern) : found;
    });
  const chosen = names === undefined ? usual(all) : every(names);
  const { exclude = [], layers } = options;
  const taken = new Set(every(exclude).flatMap(({ params }) => params));
  const layerOf = (param: string): number => Number(/^blocks\.(\d+)\./.exec(param)![1]);
  const order = new Map(all.singles.map(({ name }, i) => [name, i]));
  const found: LoraTarget[] = [];
  // A module goes before its projections, where both are named.
  for (const target of chosen.toSorted((a, b) => b.params.length - a.params.length)) {
    if (target.params.some((param) => taken.has(param))) continue;
    if (layers !== undefined && !layers.includes(layerOf(target.params[0]!))) continue;
    for (const param of target.params) taken.add(param);
    found.push(target);
  }
  if (found.length === 0)
    fail([names ?? "queries and values", ...(layers === undefined ? [] : [`layers ${layers.join(", ")}`])].join("; "));
  return found.sort((a, b) => order.get(a.params[0]!)! - order.get(b.params[0]!)!);
}

/** Names under which PEFT has the parts of an adapter, by the TransformerLens name of its projection. */
export function peftNames(model: Weighted, part: "A" | "B"): ReadonlyMap<string, readonly string[]> {
  return new Map(
    targetsIn(model).modules.flatMap(({ module, params }) => {
      const key = `${module}.lora_${part}`;
      const names = [key, `base_model.model.${key}.weight`, `base_model.model.${key}.default.weight`];
      return params.map((param) => [param, names] as const);
    }),
  );
}
