/** @file The plain training loop of the published runner. */
import type { Batch } from "../../data/index.ts";
import { Tensor } from "../../graph/index.ts";
import type { FitResult, StopReason } from "../../train/index.ts";
import { keepBatch } from "../../train/learner/notFinite.ts";
import { scheduleLearner } from "../../train/schedules/scheduled.ts";
import type { Position } from "../../train/trainer/record.ts";
import { coreCheckpoint } from "./coreCheckpoint.ts";
import type { Training } from "./prepare.ts";
import { metricsText, runSteps } from "./steps.ts";
import type { TrainingRun } from "./trainable.ts";

/**
 * Epochs of training steps, each followed by validation. Schedules step (in the published loop they never do); hooks that
 * a module has not are left out. The newest checkpoint is kept: after each epoch or some steps, and when training ends, is
 * interrupted or fails.
 */
export async function coreFit(training: Training, run: TrainingRun): Promise<FitResult> {
  const { session, learner } = training;
  const { module, logger, cfg } = session;
  const { maxEpochs, maxSteps, limitTrainBatches, limitValBatches, checkpointEveryNSteps: every } = cfg.runCfg;
  const limit = run.limit ?? limitTrainBatches;
  const schedule = training.schedule && scheduleLearner(learner, training.schedule);
  const latest: Record<string, number> = {};
  const { state, metrics } = module;
  const checkpoint = coreCheckpoint({ training, schedule, latest, limit });
  const start = performance.now();
  /** Where a checkpoint goes on; undefined while something is due that belongs to the last step. */
  let whole: Position | undefined = { epoch: 0, batch: 0, globalStep: 0 };
  let at: Position = whole;

  const ended = (): StopReason | undefined => {
    if (maxEpochs >= 0 && at.epoch >= maxEpochs) return "max epochs";
    if (run.signal?.aborted === true) return "interrupted";
    return limit === 0 || (maxSteps >= 0 && at.globalStep >= maxSteps) ? "max steps" : undefined;
  };
  const learn = async (batch: Batch, index: number): Promise<void> => {
    const { epoch, globalStep } = at;
    await session.call("onTrainBatchStart");
    const given = await training.trainingStep(batch, index);
    const objective = given instanceof Tensor ? { loss: given } : given;
    const step = learner.step(objective).catch(async (error: unknown) => {
      throw await keepBatch(error, session.experimentFolder, { epoch, globalStep, index }, batch);
    });
    const { loss } = await step;
    whole = undefined;
    metrics.add("train_loss", loss, batch.dims[0]);
    await session.call("onTrainBatchEnd");
    at = { epoch, batch: index + 1, globalStep: globalStep + 1 };
    state.globalStep = at.globalStep;
    latest["train_loss"] = loss;
    schedule?.step("step", at.globalStep, latest);
  };
  /** The rest of an epoch. @returns why it was not gone through to its end */
  const epochOfSteps = async (): Promise<StopReason | undefined> => {
    if (at.batch === 0) {
      metrics.clear();
      state.currentEpoch = at.epoch;
      await session.call("onTrainEpochStart");
    }
    const all = await training.epoch(at.epoch);
    const batches = limit < 0 ? all : all.slice(0, limit);
    for (let reason: StopReason | undefined; at.batch < batches.length;) {
      if ((reason = ended()) !== undefined) return reason;
      await learn(batches[at.batch]!, at.batch);
      // The end of the epoch belongs to its last step.
      if (at.batch < batches.length) {
        whole = at;
        if (every !== null && at.globalStep % every === 0) await checkpoint.save(at);
      }
      run.onProgress?.({ epoch: at.epoch, globalStep: at.globalStep, metrics: latest });
    }
    return undefined;
  };
  const closeEpoch = async (): Promise<void> => {
    Object.assign(latest, metrics.values);
    logger.info(`Train epoch end: ${metricsText(metrics.values)}`);
    if (!Reflect.has(module, "validationStep") || limitValBatches === 0) return;
    Object.assign(latest, (await runSteps(session, "validation")).metrics);
    state.globalStep = at.globalStep;
  };
  const epochs = async (): Promise<StopReason> => {
    for (;;) {
      const before = ended();
      if (before !== undefined) return before;
      const reason = await epochOfSteps();
      if (reason !== undefined) {
        // A run that goes on from here has the end of this epoch still to come.
        await checkpoint.save(at);
        whole = undefined;
        if (reason === "interrupted") return reason;
      }
      await closeEpoch();
      if (reason === undefined) schedule?.step("epoch", at.epoch + 1, latest);
      await session.call("onTrainEpochEnd");
      if (reason !== undefined) return reason;
      at = whole = { epoch: at.epoch + 1, batch: 0, globalStep: at.globalStep };
      if (every === null || at.globalStep % every === 0) await checkpoint.save(at);
    }
  };

  const resume = run.resume ?? cfg.runCfg.resume;
  if (resume !== null) at = whole = await checkpoint.restore(resume);
  try {
    await session.call("onTrainStart");
    const reason = await epochs();
    if (whole !== undefined) await checkpoint.save(whole);
    await session.call("onTrainEnd");
    const through = at.epoch + Number(at.batch > 0);
    const seconds = (performance.now() - start) / 1000;
    return { reason, epochs: through, globalStep: at.globalStep, metrics: latest, seconds };
  } catch (error) {
    // The first failure is what is told.
    if (whole !== undefined) await checkpoint.save(whole).catch(() => undefined);
    throw error;
  }
}
