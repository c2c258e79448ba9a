/** @file Checkpoints while a fit goes on: the best ones, and the last. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { monitored } from "../schedules/scheduled.ts";
import type { TrainerCallback, TrainerView } from "../trainer/protocol.ts";
import { isBetter, worst, type MonitorMode } from "./monitor.ts";

/** Lightning's options. */
export interface ModelCheckpointOptions {
  readonly folder: string;
  /** The metric that decides which are best; without one the newest are. */
  readonly monitor?: string;
  /** Whether smaller or larger is better. Default min. */
  readonly mode?: MonitorMode;
  /** How many of the best are kept; −1 is all. Default 1. */
  readonly saveTopK?: number;
  /** Keep `last.safetensors` as well. Default true. */
  readonly saveLast?: boolean;
  /** Default: after each validation, or each epoch where there is none. */
  readonly everyNTrainSteps?: number;
  readonly everyNEpochs?: number;
  /** Names of metrics, `epoch` and `step` in braces, with digits or not: `{epoch}-{val_loss:.2f}`. Default `{epoch}-{step}`. */
  readonly filename?: string;
  /** Whether a metric that is missing is an error. Default true. */
  readonly strict?: boolean;
}

interface Saved {
  readonly file: string;
  readonly score: number | null;
}

/** Checkpoints as the trainer has them. */
export interface ModelCheckpoint extends TrainerCallback {
  readonly name: "ModelCheckpoint";
  /** The best one so far, or the newest where nothing is watched. */
  readonly best: string | undefined;
  /** The value of the watched metric there. */
  readonly bestScore: number | undefined;
  readonly last: string | undefined;
  /** Those that are kept, the best first. */
  readonly kept: readonly string[];
}

/**
 * Writes checkpoints that {@link Trainer.fit} resumes from, each whole or not at all: the `saveTopK` best by a metric, and
 * `last.safetensors`, also when a fit is interrupted or fails.
 * @example
 * const checkpoint = modelCheckpoint({ folder: "runs/checkpoints", monitor: "val_loss", saveTopK: 2 });
 * const trainer = new Trainer({ maxEpochs: 3, callbacks: [checkpoint] });
 */
export function modelCheckpoint(options: ModelCheckpointOptions): ModelCheckpoint {
  const { folder, monitor, mode = "min", saveTopK = 1, saveLast = true, strict = true } = options;
  const { everyNTrainSteps, everyNEpochs, filename = "{epoch}-{step}" } = options;
  /** The best first. */
  let kept: readonly Saved[] = [];
  let lastAt = -1;
  const lastFile = join(folder, "last.safetensors");

  const due = ({ globalStep, epoch }: TrainerView, validated: boolean, epochEnded: boolean, validates: boolean) =>
    everyNTrainSteps !== undefined
      ? globalStep % everyNTrainSteps === 0
      : everyNEpochs !== undefined
        ? epochEnded && (epoch + 1) % everyNEpochs === 0
        : validates
          ? validated
          : epochEnded;
  const orderOf = (a: Saved, b: Saved): number => {
    if (monitor === undefined) return 0;
    const [x, y] = [a.score ?? worst(mode), b.score ?? worst(mode)];
    return isBetter(mode, x, y) ? -1 : isBetter(mode, y, x) ? 1 : 0;
  };
  const newFile = (view: TrainerView): string => {
    const values: Readonly<Record<string, number>> = { ...view.metrics, epoch: view.epoch, step: view.globalStep };
    const shown = (name: string, digits: string | undefined): string => {
      const value = values[name];
      if (value === undefined) return name;
      const text = digits === undefined ? String(Number(value.toPrecision(6))) : value.toFixed(Number(digits));
      return `${name}=${text}`;
    };
    const base = filename
      .replaceAll(/\{(\w+)(?::\.?(\d+)[a-z]?)?\}/g, (_, name: string, digits: string | undefined) =>
        shown(name, digits),
      )
      .replaceAll(/[/\\]/g, "-");
    for (let again = 0; ; again++) {
      const file = join(folder, `${base}${again === 0 ? "" : `-v${again}`}.safetensors`);
      if (!existsSync(file)) return file;
    }
  };
  const saveLastOf = async (view: TrainerView): Promise<void> => {
    if (!saveLast || lastAt === view.globalStep) return;
    const before = lastAt;
    lastAt = view.globalStep;
    await view.save(lastFile).catch((error: unknown) => {
      lastAt = before;
      throw error;
    });
  };
  const saveBest = async (view: TrainerView): Promise<void> => {
    if (saveTopK === 0) return;
    const score = monitor === undefined ? null : (monitored(view.metrics, monitor, strict, "ModelCheckpoint") ?? null);
    if (monitor !== undefined && (score === null || Number.isNaN(score))) return;
    const entry = { file: newFile(view), score };
    // The newest goes before older ones of its worth.
    const all = [entry, ...kept].sort(orderOf);
    const next = saveTopK < 0 ? all : all.slice(0, saveTopK);
    if (!next.includes(entry)) return;
    const before = kept;
    kept = next;
    await view.save(entry.file).catch((error: unknown) => {
      kept = before;
      throw error;
    });
    for (const { file } of before) if (!next.some((each) => each.file === file)) await rm(file, { force: true });
  };
  return {
    name: "ModelCheckpoint",
    get best() {
      return kept[0]?.file;
    },
    get bestScore() {
      return kept[0]?.score ?? undefined;
    },
    get last() {
      return lastAt < 0 ? undefined : lastFile;
    },
    get kept() {
      return kept.map(({ file }) => file);
    },
    async afterStep(view, { validated, epochEnded, validates }) {
      if (!due(view, validated, epochEnded, validates)) return;
      await saveBest(view);
      await saveLastOf(view);
    },
    onFitEnd: saveLastOf,
    onError: (view) => (view.whole && view.globalStep > 0 ? saveLastOf(view) : undefined),
    state: () => ({ kept: kept.map(({ file, score }) => ({ file, score })), lastAt }),
    restore(state) {
      const saved = state as { kept: readonly { file: string; score: number | null }[]; lastAt: number };
      kept = saved.kept.filter(({ file }) => existsSync(file));
      lastAt = saved.lastAt;
    },
  };
}
