/** @file Realized activations by hook name. */
import { inspectAs } from "../../graph/inspect.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { formatBytes } from "../../runtime/ledger.ts";
import { actName } from "./actName.ts";
import { noSuchPoint } from "./filter.ts";

/** A hook name, or TransformerLens' shorthand: `"z9"`, `["z", 9]`, `["normalized", 27, "ln2"]`; negative layers count from the end. */
export type CacheKey = string | readonly [name: string, layer?: number, layerType?: string];

/** Activations kept by a run, in the order of the forward pass. */
export class ActivationCache implements Iterable<[string, Tensor]> {
  readonly #values: ReadonlyMap<string, Tensor>;
  readonly #layers: number;

  constructor(values: ReadonlyMap<string, Tensor>, layers: number) {
    this.#values = values;
    this.#layers = layers;
  }

  /**
   * The realized activation.
   * @throws ModelError with the nearest names when it was not kept
   * @example
   * const { cache } = await model.runWithCache("The Eiffel Tower is in", { names: "*.hook_z" });
   * cache.get(["z", 9]); // [batch, pos, head, d_head], of blocks.9.attn.hook_z
   */
  get(key: CacheKey): Tensor {
    const name = this.nameOf(key);
    const value = this.#values.get(name);
    if (value === undefined) throw noSuchPoint(`the cache holds no activation ${name}`, name, this.#values.keys());
    return value;
  }

  has(key: CacheKey): boolean {
    return this.#values.has(this.nameOf(key));
  }

  /** The full hook name of a key. */
  nameOf(key: CacheKey): string {
    if (typeof key === "string") return this.#values.has(key) ? key : actName(key);
    const [name, layer, type] = key;
    return actName(name, layer !== undefined && layer < 0 ? layer + this.#layers : layer, type);
  }

  get names(): string[] {
    return [...this.#values.keys()];
  }

  [Symbol.iterator](): Iterator<[string, Tensor]> {
    return this.#values[Symbol.iterator]();
  }

  /** Bytes of all kept activations. */
  get bytes(): number {
    return [...this.#values.values()].reduce((total, x) => total + x.data.byteLength, 0);
  }

  /** How many there are, how large, and the first ones with their dimensions. */
  toString(): string {
    const shown = [...this.#values].slice(0, linesShown).map(([name, x]) => `${name} [${x.dims.join(", ")}]`);
    const more = this.#values.size - shown.length;
    const head = `ActivationCache: ${this.#values.size} activations, ${formatBytes(this.bytes)}`;
    return [head, ...shown, ...(more > 0 ? [`… ${more} more`] : [])].join("\n  ");
  }

  static {
    inspectAs(this, String);
  }
}

/** Names that a cache prints. */
const linesShown = 6;
