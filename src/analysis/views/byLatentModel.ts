/** @file A column seen latent model by latent model: one list over batches for each hook. */
import { AnalysisError } from "../errors.ts";
import { concat, reduce, reductions, type NdArray, type Reduction } from "./ndArray.ts";

/** What stands at a hook: one value, or one for each batch; null where the batch has none. */
export type HookValues = NdArray | null | readonly (NdArray | null)[];

const isList = (x: HookValues): x is readonly (NdArray | null)[] => Array.isArray(x);

/**
 * Values by hook, each a list over batches (or, once joined, one value). Made by `AnalysisView.byLatentModel`.
 * @example
 * const grad = await (await AnalysisStore.open("runs/rte")).view("logit_diffs_attr_grad");
 * const attributions = grad.byLatentModel("attribution_values").batchJoin(); // per hook [examples, width]
 * Object.values(attributions.applyOpByLatentModel("sum", 0).shapes); // [[512], [512]]
 */
export class ByLatentModel {
  readonly values: Readonly<Record<string, HookValues>>;
  readonly #what: string;

  constructor(values: Readonly<Record<string, HookValues>>, what = "values") {
    this.values = values;
    this.#what = what;
  }

  /** Names of the hooks, in forward-pass order. */
  get hooks(): string[] {
    return Object.keys(this.values);
  }

  /** Shapes by hook: one, or one for each batch. */
  get shapes(): Record<string, readonly number[] | null | (readonly number[] | null)[]> {
    const shape = (x: NdArray | null): readonly number[] | null => x?.shape ?? null;
    return Object.fromEntries(
      Object.entries(this.values).map(([hook, x]) => [hook, isList(x) ? x.map(shape) : shape(x)]),
    );
  }

  /**
   * Per hook all batches one after the other along the first axis; batches that have none are skipped.
   * @throws AnalysisError `store/ragged` where the batches' other axes differ
   */
  batchJoin(options?: { readonly acrossLatentModels?: false }): ByLatentModel;
  /** Per batch all hooks one after the other along the first axis; null where no hook has any. */
  batchJoin(options: { readonly acrossLatentModels: true }): (NdArray | null)[];
  batchJoin({ acrossLatentModels = false }: { readonly acrossLatentModels?: boolean } = {}):
    ByLatentModel | (NdArray | null)[] {
    const lists = Object.entries(this.values).map(([hook, x]): [string, readonly (NdArray | null)[]] => [
      hook,
      isList(x) ? x : [x],
    ]);
    const join = (parts: readonly (NdArray | null)[]): NdArray | null => {
      const there = parts.filter((part) => part !== null);
      return there.length === 0 ? null : concat(there, this.#what);
    };
    if (acrossLatentModels) {
      const batches = Math.max(0, ...lists.map(([, list]) => list.length));
      return Array.from({ length: batches }, (_, i) => join(lists.map(([, list]) => list[i] ?? null)));
    }
    return new ByLatentModel(Object.fromEntries(lists.map(([hook, list]) => [hook, join(list)])), this.#what);
  }

  /**
   * Each value put through a function, or reduced over an axis (without one, over everything).
   * @throws AnalysisError for a name that is not a reduction
   */
  applyOpByLatentModel(op: Reduction | ((x: NdArray, hook: string) => NdArray), axis?: number): ByLatentModel {
    if (typeof op === "string" && !reductions.includes(op))
      throw new AnalysisError("there is no such reduction", {
        code: "store/reduction",
        expected: `a function, or ${reductions.join(", ")}`,
        received: String(op),
      });
    const one = (x: NdArray | null, hook: string): NdArray | null => {
      if (x === null) return null;
      return typeof op === "string" ? reduce(x, op, axis) : op(x, hook);
    };
    const entries = Object.entries(this.values).map(([hook, x]): [string, HookValues] => [
      hook,
      isList(x) ? x.map((each) => one(each, hook)) : one(x, hook),
    ]);
    return new ByLatentModel(Object.fromEntries(entries), this.#what);
  }

  /** The tutorials' name for {@link applyOpByLatentModel}. */
  applyOpBySae(op: Reduction | ((x: NdArray, hook: string) => NdArray), axis?: number): ByLatentModel {
    return this.applyOpByLatentModel(op, axis);
  }
}
