/** @file What the layers above need of a session, and nothing more: anything of this shape will do. */
import type { Answer, Batch } from "../data/index.ts";
import type { JsonObject } from "../formats/index.ts";
import type { HookedModel, PositionPolicy } from "../model/index.ts";
import type { LatentModel } from "../sae/index.ts";
import type { RunConfig } from "./config/types.ts";
import type { LocatedMap } from "./config/yaml.ts";

/** The parts of a data set. As published, test and predict read the rows of `validation`. */
export type Split = "train" | "validation" | "test" | "predict";

/** What a session goes through. Each has a start and an end; `analysis` is the phase of the analysis runner. */
export type Phase = "train" | "validation" | "test" | "predict" | "analysis";

/** The moments at which a module, a data module and extensions may act, in the order of a session. */
export type LifecycleHook =
  | "prepareData"
  | "setup"
  | "configureOptimizers"
  | `on${Capitalize<Phase>}Start`
  | `on${Capitalize<Phase>}EpochStart`
  | `on${Capitalize<Phase>}BatchStart`
  | `on${Capitalize<Phase>}BatchEnd`
  | `on${Capitalize<Phase>}EpochEnd`
  | `on${Capitalize<Phase>}End`
  | "onSessionEnd";

/** How a session's configuration wants its model run. */
export interface RunDefaults {
  readonly positions: PositionPolicy;
  /** Splice SAEs with their error term. */
  readonly useErrorTerm: boolean;
  readonly paddingSide: "left" | "right";
}

/** The model's side of a session as analyses see it. */
export interface AnalysisModule {
  readonly model: HookedModel;
  /** Spliced SAEs; absent without the `sae_lens` adapter. */
  readonly saes?: readonly LatentModel[];
  /** One answer for each class, in the order of the labels; null where rows bring their own. */
  readonly answers: readonly Answer[] | null;
  /** What runs have where their own options do not say. */
  readonly runDefaults?: RunDefaults;
}

/** The data's side of a session as analyses see it. */
export interface AnalysisDataModule {
  /** Rows a batch has in evaluation; the last one may be smaller. */
  readonly evalBatchSize: number;
  /** Goes through a split in order; rows are tokenised once and kept. Each iteration starts anew. */
  batches(split: Split): AsyncIterable<Batch>;
}

/** Compositions, and the collection they belong to. */
export interface OpFile {
  /** What may stand before the names of its ops: the collection's name, and the component's. */
  readonly namespaces: readonly string[];
  /** `composite_operations`, as written. */
  readonly compositions: LocatedMap;
}

/** Compositions of which somebody runs analyses. */
export interface OpCollection {
  readonly opFiles: readonly OpFile[];
}

/** A session as the analysis runner sees it. `Session` is one; so is any object of this shape. */
export interface AnalysisSession {
  readonly module: AnalysisModule;
  readonly datamodule: AnalysisDataModule;
  /** What decides results and is worth keeping with them: entered into the provenance of stores. */
  readonly record: JsonObject;
  /** Its configuration: what is run where nobody says. */
  readonly cfg?: { readonly runCfg: Pick<RunConfig, "ops" | "analysisCfgs"> & Partial<Pick<RunConfig, "preferOps">> };
  /** The shared components it was given: their compositions are further ops for whoever runs analyses. */
  readonly sharedComponents?: readonly OpCollection[];
  /** Collections beside those of components, whose compositions are ops as well. */
  readonly opCollections?: readonly OpCollection[];
  /** Prepares data, sets both sides up; the second call does nothing. */
  init(): Promise<void>;
  /** Lets both sides and the extensions act, data module first. */
  call(hook: LifecycleHook): Promise<void>;
  /** Ends the session once: `onSessionEnd`, logs flushed. Later calls do nothing. */
  end(): Promise<void>;
}
