/** @file The checkpoint of the plain training loop: the newest one, whole or not at all. */
import { join } from "node:path";
import type { JsonObject } from "../../formats/index.ts";
import { loadCheckpoint, saveCheckpoint } from "../../train/index.ts";
import type { LearnerSchedule } from "../../train/schedules/scheduled.ts";
import { loopRecord, storable, type CoreRecord, type Position } from "../../train/trainer/record.ts";
import type { Training } from "./prepare.ts";

/** What a checkpoint is made of, beside where training stands. */
export interface CoreState {
  readonly training: Training;
  readonly schedule: LearnerSchedule | undefined;
  /** The latest value of everything that was logged; filled by a resume. */
  readonly latest: Record<string, number>;
  /** Batches of each epoch at most. */
  readonly limit: number;
}

/** Writes and reads the checkpoints of one training. */
export interface CoreCheckpoint {
  /** Replaces `last.safetensors`, unless it is of this step already. @throws TrainError when it cannot be written */
  save(at: Position): Promise<void>;
  /** Goes on from a file. @throws TrainError when it is of another training */
  restore(file: string): Promise<Position>;
}

export function coreCheckpoint({ training, schedule, latest, limit }: CoreState): CoreCheckpoint {
  const { session, learner } = training;
  const { metrics, state } = session.module;
  const { enableCheckpointing, checkpointDir } = session.cfg.runCfg;
  const folder = checkpointDir ?? join(session.experimentFolder, "checkpoints");
  const own = { limitTrainBatches: limit, schedule: training.schedule ?? null };
  const identity = JSON.parse(JSON.stringify({ ...training.identity, ...own })) as JsonObject;
  /** Before the first step there is nothing that is worth a file, perhaps another run's. */
  let savedAt = 0;
  return {
    async save(at) {
      if (!enableCheckpointing || savedAt === at.globalStep) return;
      const record: CoreRecord = {
        core: 1,
        position: at,
        identity,
        schedule: schedule?.schedule.state() ?? null,
        metrics: storable(latest),
        epochMetrics: metrics.state(),
      };
      const file = join(folder, "last.safetensors");
      await saveCheckpoint(file, { learner: learner.state(), record: record as object as JsonObject });
      savedAt = at.globalStep;
    },
    async restore(file) {
      const { learner: learnt, record } = await loadCheckpoint(file);
      const saved = loopRecord("core", record, identity, file);
      learner.restore(learnt);
      if (saved.schedule !== null) schedule?.schedule.restore(saved.schedule);
      schedule?.apply();
      metrics.restore(saved.epochMetrics);
      for (const [name, value] of Object.entries(saved.metrics)) latest[name] = Number(value);
      const { epoch, globalStep } = saved.position;
      Object.assign(state, { currentEpoch: epoch, globalStep });
      savedAt = globalStep;
      return saved.position;
    },
  };
}
