/** @file The plain training loop of the published runner. */
import { Tensor } from "../graph/index.ts";
import { keepBatch } from "../train/notFinite.ts";
import { scheduleLearner } from "../train/scheduled.ts";
import type { FitResult, StopReason } from "../train/index.ts";
import { metricsText, runSteps } from "./steps.ts";
import type { Training, TrainingRun } from "./training.ts";

/**
 * Epochs of training steps, each followed by validation. Schedules step (in the published loop they never do); hooks that
 * a module has not are left out.
 */
export async function coreFit(training: Training, run: TrainingRun): Promise<FitResult> {
  const { session, learner } = training;
  const { module, logger, cfg } = session;
  const { maxEpochs, maxSteps, limitTrainBatches, limitValBatches } = cfg.runCfg;
  const limit = run.limit ?? limitTrainBatches;
  const schedule = training.schedule && scheduleLearner(learner, training.schedule);
  const latest: Record<string, number> = {};
  const { state, metrics } = module;
  const start = performance.now();
  let globalStep = 0;
  let epoch = 0;
  let reason: StopReason = "max epochs";
  const done = (): boolean => {
    if (run.signal?.aborted === true) reason = "interrupted";
    else if (limit === 0 || (maxSteps >= 0 && globalStep >= maxSteps)) reason = "max steps";
    return reason !== "max epochs";
  };
  await session.call("onTrainStart");
  for (; (maxEpochs < 0 || epoch < maxEpochs) && !done(); epoch++) {
    metrics.clear();
    state.currentEpoch = epoch;
    await session.call("onTrainEpochStart");
    const all = await training.epoch(epoch);
    for (const [index, batch] of (limit < 0 ? all : all.slice(0, limit)).entries()) {
      if (done()) break;
      await session.call("onTrainBatchStart");
      const given = await training.trainingStep(batch, index);
      const objective = given instanceof Tensor ? { loss: given } : given;
      const step = learner.step(objective).catch(async (error: unknown) => {
        throw await keepBatch(error, session.experimentFolder, { epoch, globalStep, index }, batch);
      });
      const { loss } = await step;
      metrics.add("train_loss", loss, batch.dims[0]);
      await session.call("onTrainBatchEnd");
      state.globalStep = ++globalStep;
      latest["train_loss"] = loss;
      schedule?.step("step", globalStep, latest);
      run.onProgress?.({ epoch, globalStep, metrics: latest });
    }
    Object.assign(latest, metrics.values);
    logger.info(`Train epoch end: ${metricsText(metrics.values)}`);
    if (Reflect.has(module, "validationStep") && limitValBatches !== 0) {
      Object.assign(latest, (await runSteps(session, "validation")).metrics);
      state.globalStep = globalStep;
    }
    schedule?.step("epoch", epoch + 1, latest);
    await session.call("onTrainEpochEnd");
  }
  await session.call("onTrainEnd");
  return { reason, epochs: epoch, globalStep, metrics: latest, seconds: (performance.now() - start) / 1000 };
}
