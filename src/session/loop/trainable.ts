/** @file What training needs of a session, how it is watched, and what it comes to. */
import type { HookSpec } from "../../model/index.ts";
import type { FitResult, Lora, MetricLogger, Trainable, TrainerCallback } from "../../train/index.ts";
import type { ModuleConfig, RunConfig, TrainerConfig } from "../config/types.ts";
import type { Log } from "../log.ts";
import type { AnalysisSession } from "../protocol.ts";
import type { OptimizerPlan } from "../sides/module.ts";
import type { DataModuleBase } from "../sides/sides.ts";
import type { SteppedSession } from "./steps.ts";

/** What training needs of a session. */
export interface TrainableSession extends SteppedSession {
  readonly cfg: {
    readonly adapterCtx: readonly string[];
    readonly runCfg: RunConfig;
    readonly trainer: TrainerConfig;
    readonly seed: number | null;
    readonly moduleCfg: ModuleConfig;
  };
  readonly logger: Log;
  readonly experimentFolder: string;
  readonly datamodule: AnalysisSession["datamodule"] & Pick<DataModuleBase, "cfg" | "trainBatchSize" | "tokenizer">;
  readonly module: SteppedSession["module"] & { readonly optimizers?: readonly OptimizerPlan[] };
  /** The adapters that are trained; undefined where the model is. */
  readonly lora: Lora | undefined;
  trainable(): Promise<Trainable>;
  /** Does some work in which `module.model` is a view under hooks. */
  underHooks<T>(hooks: readonly HookSpec[], work: () => Promise<T>): Promise<T>;
}

/** How a training is watched, cut short and taken up again. */
export interface TrainingRun {
  /** Training batches of each epoch at most. */
  readonly limit?: number | undefined;
  /** A checkpoint to go on from. Default: `run_cfg.resume` under `core`, `trainer.resume` under `lightning`. */
  readonly resume?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** After each training batch: optimiser steps, and what was measured last. */
  readonly onProgress?: ((progress: TrainingProgress) => void) | undefined;
  /** Beside those that the configuration names (adapter lightning). */
  readonly callbacks?: readonly TrainerCallback[];
  readonly loggers?: readonly MetricLogger[];
}

/** How far training is. */
export interface TrainingProgress {
  readonly epoch: number;
  readonly globalStep: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** What a training came to. */
export interface TrainingResult extends FitResult {
  /** Folders of the adapters (`lora_cfg`): the last ones, and those of the best checkpoint where a metric decides. */
  readonly adapters?: { readonly last: string; readonly best?: string };
}
