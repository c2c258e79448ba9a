/** @file The two sides of a session as each sees the other: what every module and every data module has. */
import type { Batch, Dataset } from "../../data/index.ts";
import type { TokenBatch, Tokenizer, Traced } from "../../model/index.ts";
import type { Metrics } from "../../train/index.ts";
import type { DataModuleConfig, ModuleConfig } from "../config/types.ts";
import type { AnalysisDataModule, AnalysisModule, RunDefaults, Split } from "../protocol.ts";
import type { Log } from "../log.ts";

/** What every module has. */
export interface ModuleBase extends Omit<AnalysisModule, "saes"> {
  readonly runDefaults: RunDefaults;
  readonly name: string;
  readonly cfg: ModuleConfig;
  readonly logger: Log;
  /** Undefined where the model has none. */
  readonly tokenizer: Tokenizer | undefined;
  readonly datamodule: DataModuleBase;
  /** `<core_log_dir or the temporary folder>/<YYYYmmdd_HHMMSS>_<experiment_tag>` */
  readonly experimentFolder: string;
  /** What random numbers begin from; 0 where nobody says. */
  readonly seed: number;
  /** Counters of the loop that runs the module. */
  readonly state: { currentEpoch: number; globalStep: number };
  /** Values logged since the phase began, means over examples. */
  readonly metrics: Metrics;
  /** Logs a metric of a batch. @param examples what it is the mean of */
  log(name: string, value: number, examples: number): void;
  logDict(values: Readonly<Record<string, number>>, examples: number): void;
  /** The batch as leaves, made once, under the module's position policy. */
  input(batch: Batch): TokenBatch;
  /** Runs the batch; with `add_saes_on_init` the SAEs are spliced. */
  forward<T>(batch: Batch, select: (traced: Traced) => T): Promise<T>;
  /** The expression of the same. */
  trace(batch: Batch): Traced;
}

/** What every data module has. */
export interface DataModuleBase extends AnalysisDataModule {
  readonly name: string;
  readonly cfg: DataModuleConfig;
  readonly logger: Log;
  /** Undefined where the model has none and rows are token ids. */
  readonly tokenizer: Tokenizer | undefined;
  readonly trainBatchSize: number;
  /** The model's side, once the session has put the two together. */
  readonly module: ModuleBase;
  /** The rows of a split. As published, test, validation and predict are the rows of `validation`. */
  dataset(split: Split): Promise<Dataset>;
  trainDataloader(): AsyncIterable<Batch>;
  valDataloader(): AsyncIterable<Batch>;
  testDataloader(): AsyncIterable<Batch>;
  predictDataloader(): AsyncIterable<Batch>;
}
