/** @file The adapters of a training, saved when it ends. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { loadCheckpoint, type FitResult } from "../../train/index.ts";
import { loraAsOf } from "../../train/lora/lora.ts";
import { saveAdapters } from "../load/adapted.ts";
import type { TrainableSession, TrainingResult } from "./trainable.ts";

/** Saves the adapters of a session that has some. @param best the checkpoint that is the best */
export async function withAdapters(
  result: FitResult,
  session: TrainableSession,
  folder: string,
  best?: string,
): Promise<TrainingResult> {
  const { lora } = session;
  if (lora === undefined) return result;
  const last = join(folder, "adapter", "last");
  await saveAdapters(last, session, lora);
  const then = join(folder, "adapter", "best");
  if (best === undefined) {
    // Of another run in this folder.
    await rm(then, { recursive: true, force: true });
    return { ...result, adapters: { last } };
  }
  await saveAdapters(then, session, loraAsOf(lora, (await loadCheckpoint(best)).learner));
  return { ...result, adapters: { last, best: then } };
}
