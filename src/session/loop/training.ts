/** @file Training a session: with the plain loop where `core` leads, with the Trainer where `lightning` does. */
import { coreFit } from "./coreLoop.ts";
import { trainingOf, usesTrainer, type Training } from "./prepare.ts";
import type { TrainableSession, TrainingResult, TrainingRun } from "./trainable.ts";
import { withAdapters } from "./trainedAdapters.ts";
import { trainerFit } from "./trainerFit.ts";

/**
 * Trains a session's module: `training_step` over the rows of `train`, `validation_step` after each epoch. With the adapter
 * `core` it is the plain loop of `run_cfg`; with `lightning` the {@link Trainer} of `trainer`, with callbacks and loggers.
 * Both run the same module, keep checkpoints, also when the signal aborts, and go on from one bit for bit. The model that
 * the session was given stays as it is; `module.model` learns. With `lora_cfg` only its adapters do; where checkpoints are
 * kept, they are saved in `adapter/last`, and in `adapter/best` as the best checkpoint has them.
 * @throws SessionError without an optimiser, a training step or training rows, and when a batch is larger than the data;
 *   TrainError when the loss is not finite, and for a checkpoint of another configuration
 * @example
 * const session = await Session.create({
 *   model,
 *   data: { train: "rte/validation.jsonl", validation: "rte/validation.jsonl" },
 *   trainBatchSize: 2,
 *   moduleCfg: { coreLogDir: "runs/logs", optimizerInit: { classPath: "AdamW", initArgs: { lr: 1e-4 } } },
 *   runCfg: { maxSteps: 2 },
 * });
 * const { globalStep, metrics } = await runTraining(session);
 * globalStep; // 2
 */
export async function runTraining(session: TrainableSession, run: TrainingRun = {}): Promise<TrainingResult> {
  await session.init();
  const training = await trainingOf(session);
  try {
    return await (usesTrainer(session) ? trainerFit(training, run) : coreTraining(training, run));
  } finally {
    training.learner.dispose();
  }
}

async function coreTraining(training: Training, run: TrainingRun): Promise<TrainingResult> {
  const { session } = training;
  const result = await coreFit(training, run);
  return session.cfg.runCfg.enableCheckpointing ? withAdapters(result, session, session.experimentFolder) : result;
}
