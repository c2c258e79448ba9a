/** @file Tables that all runs of a model share: rotations of positions, attention masks of a model's own. */
import { leaf, type Tensor } from "../../graph/tensor.ts";
import type { ModelConfig } from "../config.ts";
import { rotaryTables } from "./rope.ts";

export class Tables {
  readonly #cfg: ModelConfig;
  readonly #rotary = new Map<number, { cos: Tensor; sin: Tensor }>();
  readonly #masks = new Map<number, Tensor>();

  constructor(cfg: ModelConfig) {
    this.#cfg = cfg;
  }

  /** Rotary tables for at least so many positions; lengths are powers of two so that few are made. */
  rotary(positions: number): { cos: Tensor; sin: Tensor } {
    const length = Math.min(this.#cfg.n_ctx, Math.max(64, 2 ** Math.ceil(Math.log2(Math.max(positions, 1)))));
    let tables = this.#rotary.get(length);
    if (tables === undefined) this.#rotary.set(length, (tables = rotaryTables(this.#cfg, length)));
    return tables;
  }

  /** The mask of a block, where the configuration has one. */
  mask(layer: number): Tensor {
    let mask = this.#masks.get(layer);
    if (mask === undefined) {
      const rows = this.#cfg.attention_bias![layer]!;
      const data = Float32Array.from(rows.flat(), (x) => x ?? -Infinity);
      mask = leaf(data, [rows.length, rows.length], { name: `attention mask of block ${layer}` });
      this.#masks.set(layer, mask);
    }
    return mask;
  }
}
