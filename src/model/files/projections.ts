/** @file Which tensors of a family's files are projections, for adapters that are named after them. */
import type { ModelConfig } from "../config.ts";
import type { Layout, Shape } from "../families/layouts.ts";
import { familyByArchitecture } from "../families/table.ts";
import { rowsOf } from "./readWeights.ts";

/** A tensor of a file that maps activations to activations. */
export interface ProjectionFile {
  /** The module's name in the file: `model.layers.0.self_attn.q_proj`. */
  readonly module: string;
  /** What it holds, by TransformerLens name. */
  readonly params: readonly string[];
  readonly shapes: readonly Shape[];
  readonly layout: Layout;
  /** A Linear's [out, in]; else [in, out]. */
  readonly linear: boolean;
}

/**
 * Whether a parameter maps activations to activations, in attention or in an MLP.
 * @example
 * [isProjection("blocks.0.attn.W_Q"), isProjection("embed.W_E")]; // [true, false]
 */
export const isProjection = (param: string): boolean => /\.(attn\.W_[QKVO]|mlp\.W_(in|gate|out))$/.test(param);

/**
 * The projections of a model's Hugging Face files; undefined for a model of no family.
 * @example
 * projectionFiles(model.cfg)![0]!.module; // "transformer.h.0.attn.c_attn"
 */
export function projectionFiles(cfg: ModelConfig): readonly ProjectionFile[] | undefined {
  const family = familyByArchitecture(cfg.original_architecture);
  if (family === undefined) return undefined;
  return rowsOf(family.tensors, cfg)
    .filter(({ params }) => params.every(isProjection))
    .map(({ name, params, shapes, layout }) => ({
      module: name.replace(/\.weight$/, ""),
      params,
      shapes,
      layout,
      linear: isLinear(layout, params[0]!, params.length),
    }));
}

/** Whether the input is the file's last axis: seen from sizes that are all different. */
function isLinear(layout: Layout, param: string, parts: number): boolean {
  const heads = param.endsWith("W_O") ? [2, 3, 7] : [2, 7, 3];
  const fanIn = param.endsWith("W_O") ? 6 : param.includes(".mlp.") ? 5 : 7;
  const shape = param.includes(".mlp.") ? [5, 11] : heads;
  return layout.fileShape(Array.from({ length: parts }, () => shape)).at(-1) === fanIn;
}
