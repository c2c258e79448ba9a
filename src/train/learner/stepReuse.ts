/** @file Steps of one structure: each is traced, only the first ones are differentiated and planned. */
import type { Tensor } from "../../graph/index.ts";
import type { CompiledUpdate } from "../../runtime/index.ts";
import { makePlan } from "../../runtime/plan.ts";
import { namedTensors } from "../../runtime/tree.ts";

/** A step as it was planned, for those like it. */
interface Known {
  /** Its leaves, in the order of the structure. */
  readonly feeds: readonly Tensor[];
  /** Which of them differ from step to step. */
  readonly inputs: readonly number[];
  readonly run: CompiledUpdate<string, unknown> | undefined;
}

/** Structures that are remembered: lengths of batches, mostly. */
const most = 16;

/** What was planned of earlier steps. */
export class StepReuse {
  readonly #known = new Map<string, Known>();
  #version = -1;

  /**
   * A step whose graph is that of an earlier one over other data runs the earlier one's plan on its own data: the same
   * graph, so the same bits. Where it is the first of its kind, or something else than data differs, there is nothing.
   * @param tree of scalars
   * @param version changes when all that was planned is out of date
   * @param compile plans this step, with these leaves open
   */
  async find<T>(
    tree: T,
    version: number,
    compile: (inputs: Readonly<Record<string, Tensor>>) => Promise<CompiledUpdate<string, T>>,
  ): Promise<((options?: Parameters<CompiledUpdate<string, T>>[1]) => Promise<T>) | undefined> {
    if (version !== this.#version) this.#known.clear();
    this.#version = version;
    const places = namedTensors(tree);
    const plan = makePlan([...places.keys()], () => false);
    // Numbers that are drawn belong to one step: they follow from their seed, which differs.
    const feeds = plan.feeds.flatMap((x) => (x.storage === undefined ? x.inputs : [x]));
    const sizes = plan.feeds.map((x) => (x.storage === undefined ? x.op.name : x.dims.join("×")));
    const key = [plan.key, [...places.values()].join(), ...sizes].join("\n");
    const known = this.#known.get(key);
    this.#known.delete(key);
    for (const [oldest] of this.#known) if (this.#known.size >= most) this.#known.delete(oldest);
    const changed = feeds.flatMap((x, i) => (known === undefined || x === known.feeds[i] ? [] : [i]));
    if (known === undefined || changed.some((i) => feeds[i]!.storage?.role !== "data")) {
      this.#known.set(key, { feeds, inputs: [], run: undefined });
      return undefined;
    }
    const fits = known.run !== undefined && changed.every((i) => known.inputs.includes(i));
    const inputs = fits ? known.inputs : [...new Set([...known.inputs, ...changed])];
    const given = Object.fromEntries(inputs.map((i) => [String(i), feeds[i]!]));
    const run = fits ? (known.run as CompiledUpdate<string, T>) : await compile(given);
    this.#known.set(key, fits ? known : { feeds, inputs, run });
    return (options) => run(given, options);
  }
}
