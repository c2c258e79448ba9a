/** @file Training SAEs on a model's activations, from the first forward pass to the saved folder. */
import { canonicalJson, writeFileAtomic, writeSafetensors, type JsonObject } from "../../formats/index.ts";
import type { HookedModel } from "../../model/index.ts";
import { defaultRuntime, type Runtime } from "../../runtime/index.ts";
import { Sae, Transcoder } from "../../sae/index.ts";
import { TrainError } from "../errors.ts";
import { jsonlLogger } from "../loggers/index.ts";
import { outFolder } from "../outFolder.ts";
import { inFiles } from "./config.ts";
import { evaluateSae, type SaeEvaluation } from "./evaluate.ts";
import {
  parseSaeOfRun,
  parseSaeTrainingOptions,
  stepsOf,
  type SaeOfRun,
  type SaeOfRunInput,
  type SaeTrainingOptions,
} from "./options.ts";
import { writeCurves, type SaeHistory } from "./page.ts";
import { readRun, writeRun } from "./resume.ts";
import { inferenceOf, saveTrained } from "./save.ts";
import { mixingBuffer, type MixingBuffer } from "./source/buffer.ts";
import { openActivations } from "./source/cached.ts";
import { hookWidths, modelSource } from "./source/modelSource.ts";
import type { Documents } from "./source/packing.ts";
import { rowWidth, type ActivationSource } from "./source/source.ts";
import { saeTrainer, type SaeMetrics, type SaeTrainer } from "./trainer.ts";

/** Where a training stands. */
export interface SaeProgress {
  readonly step: number;
  readonly steps: number;
  /** Of this step, by the name of the SAE. */
  readonly metrics: Readonly<Record<string, SaeMetrics>>;
}

export interface TrainSaeOptions extends Partial<SaeTrainingOptions> {
  readonly model: HookedModel;
  /** Documents: texts or token ids, in an array or a function that begins anew. */
  readonly data: Documents | readonly (string | readonly number[])[];
  /** One SAE, or several that are trained on the same activations at once. */
  readonly sae: SaeOfRunInput | readonly SaeOfRunInput[];
  /** A folder of {@link cacheActivations} to train from, instead of running the model. */
  readonly activations?: string;
  /** Documents for evaluations. Default: the first ones of `data`. */
  readonly evalData?: Documents | readonly (string | readonly number[])[];
  /** Folder for the SAEs, the log, the page of curves and the checkpoint. Default: nothing is written. */
  readonly out?: string;
  /** Go on from the checkpoint in `out`, where there is one. */
  readonly resume?: boolean;
  /** Stops after the current step; with `out`, a checkpoint is written first. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SaeProgress) => void;
  readonly runtime?: Runtime;
  /** What cfg.json says of the model and the data, beside the model's name. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Where model and data came from, for runner_cfg.json: names that may mean something on this machine only. */
  readonly origin?: Readonly<Record<string, unknown>>;
}

/** A trained SAE. */
export interface TrainedSae {
  readonly name: string;
  /** As it runs, where it is one. */
  readonly sae: Sae | undefined;
  readonly transcoder: Transcoder | undefined;
  readonly evaluation: SaeEvaluation | undefined;
  readonly history: SaeHistory;
  /** Its folder in `out`. */
  readonly folder: string | undefined;
}

const documentsOf = (data: TrainSaeOptions["data"]): Documents => (typeof data === "function" ? data : () => data);

/** Names that are safe as folders. */
const folderOf = (name: string): string => name.replaceAll(/[^\w.-]+/g, "_");

/** Numbers of evaluations as they are logged. */
const evaluated = ({ explainedVariance, l0, ceLoss, ceScore }: SaeEvaluation): SaeMetrics => ({
  "eval/explained_variance": explainedVariance,
  "eval/l0": l0,
  "eval/ce_loss": ceLoss.clean,
  "eval/ce_loss_with_sae": ceLoss.sae,
  "eval/ce_loss_ablated": ceLoss.ablated,
  "eval/ce_score": ceScore,
});

/**
 * Trains sparse autoencoders on a model's activations: SAELens' architectures, losses, schedules and defaults. The model
 * runs only up to the hook points; activations of many documents are mixed in a bounded buffer; top-k SAEs touch active
 * latents only. With the same seed the same SAEs come out, also of a training that was interrupted and resumed.
 *
 * With `out`, each SAE has a folder in SAELens' format, `metrics.jsonl` the log, `curves.html` its curves, which renew
 * themselves, and `checkpoint.safetensors` everything to go on from.
 * @throws TrainError for options that do not fit, data with fewer activations than a batch, a checkpoint of another
 *   training, and a loss that is not finite: its batch is then in `out`
 * @example
 * const [trained] = await trainSae({
 *   model,
 *   data: prompts,
 *   sae: { architecture: "topk", dSae: 64, k: 4, hookName: "blocks.1.hook_resid_post" },
 *   contextSize: 4,
 *   trainBatchSizeTokens: 4,
 *   storeBatchSizePrompts: 2,
 *   trainingTokens: 16,
 *   nEvalBatches: 1,
 * });
 * trained!.sae!.dSae; // 64
 */
export async function trainSae(options: TrainSaeOptions): Promise<TrainedSae[]> {
  const run = await prepareRun(options);
  try {
    await run.loop();
    return await run.finish();
  } finally {
    await run.dispose();
  }
}

interface Run {
  loop(): Promise<void>;
  finish(): Promise<TrainedSae[]>;
  dispose(): Promise<void>;
}

interface Parts {
  readonly options: TrainSaeOptions;
  readonly settings: SaeTrainingOptions;
  readonly trainers: readonly SaeTrainer[];
  readonly buffer: MixingBuffer;
  readonly source: ActivationSource;
  /** What must be the same for a checkpoint to fit. */
  readonly identity: JsonObject;
}

function given({
  model,
  data,
  sae,
  activations,
  evalData,
  out,
  resume,
  signal,
  onProgress,
  runtime,
  metadata,
  origin,
  ...rest
}: TrainSaeOptions): object {
  void [model, data, sae, activations, evalData, out, resume, signal, onProgress, runtime, metadata, origin];
  return rest;
}

async function prepareRun(options: TrainSaeOptions): Promise<Run> {
  const { model, signal, out } = options;
  const runtime = options.runtime ?? defaultRuntime();
  const cached = options.activations === undefined ? undefined : await openActivations(options.activations);
  const settings = parseSaeTrainingOptions(cached === undefined ? given(options) : cached.packed(given(options)));
  const asked: readonly SaeOfRunInput[] = Array.isArray(options.sae) ? options.sae : [options.sae as SaeOfRunInput];
  const names = [
    ...new Set(asked.flatMap((sae) => [sae.hookName, ...(sae.hookNameOut === undefined ? [] : [sae.hookNameOut])])),
  ];
  const widths = cached?.widths ?? hookWidths(model, names);
  const saes = asked.map((sae) => parseSaeOfRun(sae, (name) => widthOf(widths, name)));
  const twice = saes.find((sae, i) => saes.findIndex((other) => folderOf(other.name) === folderOf(sae.name)) < i);
  if (twice !== undefined)
    throw new TrainError("two SAEs of a training have one name", {
      code: "train/options",
      where: twice.name,
      hint: "give each a name",
    });
  const identity = JSON.parse(
    canonicalJson({
      options: inFiles(settings),
      saes: saes.map((sae) => inFiles(sae)),
      cached: cached?.hash ?? null,
    } as JsonObject),
  ) as JsonObject;
  const resumed = options.resume === true && out !== undefined ? await readRun(out, identity) : undefined;
  const documents = documentsOf(options.data);
  const source = cached?.source(resumed?.source) ?? modelSource(model, documents, names, settings, resumed?.source);
  const batchSize = settings.trainBatchSizeTokens;
  const size = Math.max(settings.nBatchesInBuffer * settings.contextSize, 2 * batchSize);
  const mixing = { batchSize, size, mixingFraction: settings.activationsMixingFraction, seed: settings.seed };
  const buffer = mixingBuffer(source, mixing, resumed?.buffer);
  const trainers: SaeTrainer[] = [];
  for (const [i, sae] of saes.entries()) {
    const trainer = await saeTrainer(sae, settings, { runtime, seed: settings.seed + i });
    if (resumed !== undefined) await trainer.restore(resumed.trainers[i]!);
    trainers.push(trainer);
  }
  signal?.throwIfAborted();
  return runOf({ options, settings, trainers, buffer, source, identity });
}

function widthOf(widths: ReadonlyMap<string, number>, name: string): number {
  const width = widths.get(name);
  if (width !== undefined) return width;
  throw new TrainError("there are no activations of this hook point", {
    code: "train/sae-data",
    where: name,
    expected: [...widths.keys()].join(", "),
  });
}

function runOf({ options, settings, trainers, buffer, source, identity }: Parts): Run {
  const { model, out, signal, onProgress } = options;
  const steps = stepsOf(settings);
  const width = rowWidth(source);
  const evalDocuments = documentsOf(options.evalData ?? options.data);
  const histories = trainers.map(({ sae }) => ({
    name: sae.name,
    points: [] as { step: number; metrics: SaeMetrics }[],
  }));
  const logger = out === undefined ? undefined : jsonlLogger(`${out}/metrics.jsonl`);
  const metadata = (sae: SaeOfRun): Record<string, unknown> => ({
    model_name: model.cfg.model_name,
    ...options.metadata,
    model_class_name: "HookedTransformer",
    hook_name: sae.hookName,
    ...(sae.hookNameOut !== undefined && { hook_name_out: sae.hookNameOut }),
    context_size: settings.contextSize,
    prepend_bos: settings.prependBos,
    seqpos_slice: settings.seqposSlice,
    exclude_special_tokens: settings.excludeSpecialTokens,
    disable_concat_sequences: settings.disableConcatSequences,
    sequence_separator_token: settings.sequenceSeparatorToken,
  });
  let drawnAt = 0;

  /** The columns of one hook point in a batch. */
  function columns(batch: Float32Array, hookName: string): Float32Array {
    if (source.widths.size === 1) return batch;
    let from = 0;
    for (const [name, own] of source.widths) {
      if (name === hookName) {
        const rows = batch.length / width;
        const part = new Float32Array(rows * own);
        for (let r = 0; r < rows; r++) part.set(batch.subarray(r * width + from, r * width + from + own), r * own);
        return part;
      }
      from += own;
    }
    throw new TrainError("there are no activations of this hook point", { code: "train/sae-data", where: hookName });
  }

  async function curves(running: boolean): Promise<void> {
    if (out === undefined || (running && performance.now() - drawnAt < 5000)) return;
    drawnAt = performance.now();
    const done = histories.map((history, i) => ({ ...history, sparsity: trainers[i]!.sparsity() }));
    const status = `step ${trainers[0]!.steps} of ${steps}`;
    await writeCurves(`${out}/curves.html`, done, { title: "SAE training", status, running });
  }

  async function saveCheckpoint(): Promise<void> {
    if (out === undefined) return;
    const states = trainers.map((trainer) => trainer.state());
    await writeRun(out, identity, { source: source.state, buffer: buffer.state(), trainers: states }, width);
  }

  /** Factors that bring the mean norm of activations to √d_in; batches that are looked at are not trained on. */
  async function estimateScales(): Promise<void> {
    const open = trainers.filter(
      ({ sae, steps: taken }) => taken === 0 && sae.normalizeActivations === "expected_average_only_in",
    );
    if (open.length === 0) return;
    const norms = open.map(() => 0);
    for (let i = 0; i < settings.nBatchesForNormEstimate; i++) {
      signal?.throwIfAborted();
      const batch = await buffer.next();
      open.forEach(({ sae }, o) => (norms[o]! += meanNorm(columns(batch, sae.hookName), sae.dIn)));
    }
    open.forEach(
      (trainer, o) =>
        (trainer.scalingFactor = (Math.sqrt(trainer.sae.dIn) * settings.nBatchesForNormEstimate) / norms[o]!),
    );
  }

  async function step(): Promise<Record<string, SaeMetrics>> {
    const batch = await buffer.next();
    const metrics: Record<string, SaeMetrics> = {};
    for (const trainer of trainers) {
      const { hookName, hookNameOut, name } = trainer.sae;
      const x = columns(batch, hookName);
      try {
        metrics[name] = await trainer.step(x, hookNameOut === undefined ? x : columns(batch, hookNameOut));
      } catch (error) {
        if (out === undefined || !(error instanceof TrainError) || error.code !== "train/not-finite") throw error;
        const file = `${out}/not-finite-step-${trainer.steps + 1}.safetensors`;
        await writeSafetensors(file, {
          batch: { dtype: "float32", shape: [settings.trainBatchSizeTokens, width], data: batch },
        });
        throw new TrainError("the loss is not finite; the SAE is as it was before this step, whose batch is saved", {
          code: "train/not-finite",
          where: file,
          received: error.received,
          hint: "lower the learning rate, or look at the batch",
        });
      }
    }
    return metrics;
  }

  async function evaluate(trainer: SaeTrainer): Promise<SaeEvaluation> {
    const sae = inferenceOf(trainer.sae, trainer.trained(metadata(trainer.sae)));
    try {
      return await evaluateSae(model, sae, evalDocuments, settings);
    } finally {
      sae.dispose();
    }
  }

  async function log(metrics: Readonly<Record<string, SaeMetrics>>): Promise<void> {
    const at = trainers[0]!.steps;
    const { logEveryNSteps, evalEveryNLogs, nEvalBatches } = settings;
    if (at % logEveryNSteps !== 0 && at !== steps) return;
    const evaluates =
      nEvalBatches > 0 && evalEveryNLogs > 0 && at % (logEveryNSteps * evalEveryNLogs) === 0 && at !== steps;
    const all: Record<string, number> = {};
    for (const [i, trainer] of trainers.entries()) {
      const { name } = trainer.sae;
      const evaluation = evaluates ? await evaluate(trainer) : undefined;
      const own = { ...metrics[name]!, ...(evaluation && evaluated(evaluation)) };
      histories[i]!.points.push({ step: at, metrics: own });
      for (const [metric, value] of Object.entries(own))
        all[trainers.length === 1 ? metric : `${name}/${metric}`] = value;
    }
    logger?.log(all, { step: at, epoch: 0 });
    await curves(true);
  }

  return {
    loop: async () => {
      const begun = trainers[0]!.steps;
      if (out !== undefined) {
        await outFolder(out);
        logger?.start?.({ after: begun > 0 ? begun : undefined });
        if (begun > 0) await readHistory(`${out}/metrics.jsonl`, histories);
      }
      await estimateScales();
      while (trainers[0]!.steps < steps) {
        if (signal?.aborted === true) {
          await saveCheckpoint();
          signal.throwIfAborted();
        }
        const metrics = await step();
        const at = trainers[0]!.steps;
        await log(metrics);
        onProgress?.({ step: at, steps, metrics });
        const { checkpointEveryNSteps: every } = settings;
        if (every > 0 && at % every === 0 && at < steps) await saveCheckpoint();
      }
    },
    finish: async () => {
      await saveCheckpoint();
      const done: TrainedSae[] = [];
      for (const [i, trainer] of trainers.entries()) {
        const { sae } = trainer;
        const state = trainer.trained(metadata(sae));
        const folder = out === undefined ? undefined : `${out}/${folderOf(sae.name)}`;
        const evaluation = settings.nEvalBatches > 0 ? await evaluate(trainer) : undefined;
        if (evaluation !== undefined) histories[i]!.points.push({ step: steps, metrics: evaluated(evaluation) });
        if (folder !== undefined) {
          await saveTrained(folder, sae, state);
          const sparsity = { dtype: "float32", shape: [sae.dSae], data: trainer.sparsity() } as const;
          await writeSafetensors(`${folder}/sparsity.safetensors`, { sparsity });
          const runner = { ...options.origin, ...inFiles(settings), sae: inFiles(sae) };
          await writeFileAtomic(`${folder}/runner_cfg.json`, JSON.stringify(runner, null, 1));
        }
        const made = inferenceOf(sae, state);
        const history = { ...histories[i]!, sparsity: trainer.sparsity() };
        done.push({
          name: sae.name,
          sae: made instanceof Sae ? made : undefined,
          transcoder: made instanceof Transcoder ? made : undefined,
          evaluation,
          history,
          folder,
        });
      }
      await curves(false);
      return done;
    },
    dispose: async () => {
      logger?.close?.();
      await source.close();
      for (const trainer of trainers) await trainer.dispose();
    },
  };
}

function meanNorm(x: Float32Array, width: number): number {
  let total = 0;
  for (let at = 0; at < x.length; at += width) {
    let square = 0;
    for (let c = 0; c < width; c++) square += x[at + c]! ** 2;
    total += Math.sqrt(square);
  }
  return total / (x.length / width);
}

/** What was logged before, for the curves. */
async function readHistory(
  file: string,
  histories: readonly { name: string; points: { step: number; metrics: SaeMetrics }[] }[],
): Promise<void> {
  const { readFile } = await import("node:fs/promises");
  for (const line of (await readFile(file, "utf8")).split("\n").slice(0, -1)) {
    const { step, epoch, ...values } = JSON.parse(line) as Record<string, number> & { step: number; epoch: number };
    void epoch;
    for (const { name, points } of histories) {
      const prefix = histories.length === 1 ? "" : `${name}/`;
      const own = Object.entries(values).filter(([metric]) => metric.startsWith(prefix));
      points.push({
        step,
        metrics: Object.fromEntries(own.map(([metric, value]) => [metric.slice(prefix.length), value])),
      });
    }
  }
}
