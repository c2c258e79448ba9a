/** @file Hook points and what can stand at them: hooks, splices. */
import type { Tensor } from "../../graph/tensor.ts";
import type { NameFilter } from "./filter.ts";

/** A named value in the forward pass. */
export interface HookPoint {
  /** TransformerLens name, e.g. `blocks.9.attn.hook_z`. */
  readonly name: string;
  /** The block it is in, if any. */
  readonly layer: number | undefined;
  /** Fires another point from inside this one (an SAE's inner points). */
  fire(name: string, value: Tensor): Tensor;
  /**
   * The value that an earlier point had in this pass, after its hooks; for the one that a splice {@link Splice.reads}.
   * @throws ModelError when the pass has not come through it
   */
  read(name: string): Tensor;
}

/** Sees a lazy value and may return another one in its place. */
export type Hook = (value: Tensor, point: HookPoint) => Tensor | void;
/** Sees a realized value; the graph is cut here, and no gradient crosses the cut. */
export type AsyncHook = (value: Tensor, point: HookPoint) => Promise<Tensor | void>;
/** Replaces the whole point: its own name no longer fires, the points it fires itself do. */
export interface Splice {
  (value: Tensor, point: HookPoint): Tensor;
  /** An earlier point whose value it needs, beside that of its own. */
  readonly reads?: string;
}

/** Something that can stand in place of a hook point: an SAE. */
export interface Spliceable<Options = object> {
  readonly hookName: string;
  /** Where it stands, if that is not where it reads: a transcoder. */
  readonly hookNameOut?: string;
  splice(options?: Options): Splice;
}

export interface HookEntry {
  readonly filter: NameFilter;
  readonly hook: Hook | AsyncHook;
  /** `bwd`: sees the gradient with respect to the point's value and may replace it. */
  readonly direction?: "fwd" | "bwd";
  /** On in every run: a pass over some layers only may leave it idle. */
  readonly permanent?: boolean;
}
