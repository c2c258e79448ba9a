/** @file What a loop's checkpoint says beside the tensors, and whether it is of this training. */
import { z } from "zod";
import { canonicalJson, type Json, type JsonObject } from "../../formats/index.ts";
import { TrainError } from "../errors.ts";
import type { MetricsState } from "../metrics.ts";
import type { ScheduleState } from "../schedules/schedules.ts";
import type { ScheduledRates } from "../schedules/scheduled.ts";

/** Where a training is: always between two optimiser steps. */
export interface Position {
  readonly epoch: number;
  /** Batches of the epoch that are done. */
  readonly batch: number;
  readonly globalStep: number;
}

/** The loops that leave checkpoints, as errors call them. */
const loops = { trainer: "the trainer's (adapter lightning)", core: "the plain loop's (adapter core)" } as const;
type Loop = keyof typeof loops;

/** What any loop's checkpoint says. */
export interface LoopRecord {
  readonly position: Position;
  readonly identity: JsonObject;
  readonly schedule: ScheduleState | null;
  /** The latest values. */
  readonly metrics: Readonly<Record<string, number | string>>;
}

/** A trainer's part of a checkpoint. */
export interface TrainerRecord extends LoopRecord {
  readonly trainer: 1;
  /** The schedule that a later phase began; null: the module's own. */
  readonly rescheduled: ScheduledRates | null;
  /** What an epoch's means are made of so far. */
  readonly epochMetrics: { readonly trainer: MetricsState; readonly module: MetricsState | null };
  readonly callbacks: Readonly<Record<string, Json>>;
}

/** The plain loop's part of a checkpoint. */
export interface CoreRecord extends LoopRecord {
  readonly core: 1;
  /** What the module has logged in this epoch. */
  readonly epochMetrics: MetricsState;
}

const common = z.looseObject({
  position: z.strictObject({
    epoch: z.int().nonnegative(),
    batch: z.int().nonnegative(),
    globalStep: z.int().nonnegative(),
  }),
  identity: z.record(z.string(), z.json()),
  metrics: z.record(z.string(), z.union([z.number(), z.string()])),
});
const schemas = {
  trainer: common.extend({ trainer: z.literal(1), callbacks: z.record(z.string(), z.json()) }),
  core: common.extend({ core: z.literal(1) }),
};
interface Records {
  readonly trainer: TrainerRecord;
  readonly core: CoreRecord;
}

/** Numbers as JSON holds them: those that are not finite as text. */
export const storable = (metrics: Readonly<Record<string, number>>): Record<string, number | string> =>
  Object.fromEntries(Object.entries(metrics).map(([name, x]) => [name, Number.isFinite(x) ? x : String(x)]));

/**
 * A loop's part of a checkpoint's record.
 * @throws TrainError when there is none, or it is of another loop or training, naming what differs
 */
export function loopRecord<L extends Loop>(
  loop: L,
  record: JsonObject,
  identity: JsonObject,
  where: string,
): Records[L] {
  const checked = schemas[loop].safeParse(record);
  if (!checked.success) {
    const other = (Object.keys(loops) as Loop[]).find((name) => name !== loop && name in record);
    throw new TrainError("the checkpoint is of something else", {
      code: "train/checkpoint",
      where,
      expected: loops[loop],
      received: other === undefined ? z.prettifyError(checked.error).replaceAll(/\s*\n\s*/g, " ") : loops[other],
    });
  }
  const saved = checked.data.identity as JsonObject;
  const keys = [...new Set([...Object.keys(saved), ...Object.keys(identity)])];
  const text = (of: JsonObject, key: string): string => canonicalJson(of[key] ?? null);
  const other = keys.filter((key) => text(saved, key) !== text(identity, key));
  if (other.length === 0) return record as object as Records[L];
  const shown = (of: JsonObject): string => other.map((key) => `${key}: ${text(of, key)}`).join(", ");
  throw new TrainError("the checkpoint is of another training", {
    code: "train/checkpoint",
    where,
    expected: shown(identity),
    received: shown(saved),
    hint: "train with the configuration of the checkpoint, or begin anew",
  });
}
