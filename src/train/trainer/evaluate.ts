/** @file Validation, test and prediction: every batch through a step, with the hooks around. */
import { TrainError } from "../errors.ts";
import { limited } from "./limited.ts";
import type { Batches, TrainerData, TrainerHook, TrainerModule } from "./protocol.ts";

export type EvaluationPhase = "validation" | "test" | "predict";

type PhaseTable = {
  readonly [P in EvaluationPhase]: {
    readonly title: Capitalize<P>;
    readonly step: `${P}Step`;
    readonly limit: "limitValBatches" | "limitTestBatches" | "limitPredictBatches";
  };
};
/** What each phase is called. @internal */
export const evaluationPhases: PhaseTable = {
  validation: { title: "Validation", step: "validationStep", limit: "limitValBatches" },
  test: { title: "Test", step: "testStep", limit: "limitTestBatches" },
  predict: { title: "Predict", step: "predictStep", limit: "limitPredictBatches" },
};

/** What a phase came to. */
export interface Evaluation {
  /** Means over examples of what the steps logged. */
  readonly metrics: Readonly<Record<string, number>>;
  /** What each step returned. */
  readonly outputs: readonly unknown[];
  readonly batches: number;
  readonly examples: number;
}

/**
 * Runs a phase once.
 * @throws TrainError when the module has no such step; the signal's reason when aborted between two batches
 */
export async function evaluate<B>(
  module: TrainerModule<B>,
  data: Pick<TrainerData<B>, "size">,
  batches: Batches<B>,
  phase: EvaluationPhase,
  limit: number,
  { signal, onBatch }: { readonly signal?: AbortSignal | undefined; readonly onBatch?: (examples: number) => void },
): Promise<Evaluation> {
  const { title, step } = evaluationPhases[phase];
  if (module[step] === undefined)
    throw new TrainError(`the module has no ${step}`, {
      code: "train/step",
      hint: `give it a function ${step}(batch, index)`,
    });
  const call = (moment: string): void | Promise<void> => module.call?.(`on${title}${moment}` as TrainerHook);
  const outputs: unknown[] = [];
  let examples = 0;
  // What a phase logs is its own: training goes on with what it had.
  const before = module.metrics?.state();
  module.metrics?.clear();
  await call("Start");
  await call("EpochStart");
  for await (const { batch, index } of limited(batches, limit)) {
    signal?.throwIfAborted();
    await call("BatchStart");
    outputs.push(await module[step](batch, index));
    await call("BatchEnd");
    examples += data.size?.(batch) ?? 1;
    onBatch?.(examples);
  }
  const metrics = module.metrics?.values ?? {};
  await call("EpochEnd");
  await call("End");
  if (before !== undefined && phase === "validation") module.metrics!.restore(before);
  return { metrics, outputs, batches: outputs.length, examples };
}
