/** @file What a trainer's checkpoint says beside the tensors, and whether it is of this training. */
import { z } from "zod";
import { canonicalJson, type Json, type JsonObject } from "../../formats/index.ts";
import { TrainError } from "../errors.ts";
import type { MetricsState } from "../metrics.ts";
import type { ScheduleState } from "../schedules.ts";
import type { ScheduledRates } from "../scheduled.ts";

/** Where a training is: always between two optimiser steps. */
export interface Position {
  readonly epoch: number;
  /** Batches of the epoch that are done. */
  readonly batch: number;
  readonly globalStep: number;
}

/** A trainer's part of a checkpoint. */
export interface TrainerRecord {
  readonly trainer: 1;
  readonly position: Position;
  readonly identity: JsonObject;
  readonly schedule: ScheduleState | null;
  /** The schedule that a later phase began; null: the module's own. */
  readonly rescheduled: ScheduledRates | null;
  /** What an epoch's means are made of so far. */
  readonly epochMetrics: { readonly trainer: MetricsState; readonly module: MetricsState | null };
  /** The latest values. */
  readonly metrics: Readonly<Record<string, number | string>>;
  readonly callbacks: Readonly<Record<string, Json>>;
}

const schema = z.looseObject({
  trainer: z.literal(1),
  position: z.strictObject({
    epoch: z.int().nonnegative(),
    batch: z.int().nonnegative(),
    globalStep: z.int().nonnegative(),
  }),
  identity: z.record(z.string(), z.json()),
  callbacks: z.record(z.string(), z.json()),
});

/** Numbers as JSON holds them: those that are not finite as text. */
export const storable = (metrics: Readonly<Record<string, number>>): Record<string, number | string> =>
  Object.fromEntries(Object.entries(metrics).map(([name, x]) => [name, Number.isFinite(x) ? x : String(x)]));

/**
 * The trainer's part of a checkpoint's record.
 * @throws TrainError when there is none, or it is of another training, naming what differs
 */
export function trainerRecord(record: JsonObject, identity: JsonObject, where: string): TrainerRecord {
  const checked = schema.safeParse(record);
  if (!checked.success)
    throw new TrainError("the checkpoint is not a trainer's", {
      code: "train/checkpoint",
      where,
      received: z.prettifyError(checked.error).replaceAll(/\s*\n\s*/g, " "),
    });
  const saved = checked.data.identity as JsonObject;
  const keys = [...new Set([...Object.keys(saved), ...Object.keys(identity)])];
  const text = (of: JsonObject, key: string): string => canonicalJson(of[key] ?? null);
  const other = keys.filter((key) => text(saved, key) !== text(identity, key));
  if (other.length === 0) return record as object as TrainerRecord;
  const shown = (of: JsonObject): string => other.map((key) => `${key}: ${text(of, key)}`).join(", ");
  throw new TrainError("the checkpoint is of another training", {
    code: "train/checkpoint",
    where,
    expected: shown(identity),
    received: shown(saved),
    hint: "train with the configuration of the checkpoint, or begin anew",
  });
}
