/** @file The plain loop of test, validation and prediction. */
import type { Batch } from "../../data/index.ts";
import type { Metrics } from "../../train/metrics.ts";
import type { RunConfig } from "../config/types.ts";
import { SessionError } from "../errors.ts";
import type { AnalysisModule, AnalysisSession, LifecycleHook } from "../protocol.ts";
import type { Log } from "../log.ts";

/** The phases that the plain loop runs. */
export type SteppedPhase = "validation" | "test" | "predict";

/** What the loop needs of a session. */
export interface SteppedSession extends AnalysisSession {
  readonly cfg: { readonly runCfg: RunConfig };
  readonly logger: Log;
  readonly module: AnalysisModule & {
    readonly metrics: Metrics;
    readonly state: { currentEpoch: number; globalStep: number };
  };
}

/** How far the loop is. */
export interface StepsProgress {
  readonly batches: number;
  readonly examples: number;
}

/** What a phase came to. */
export interface StepsResult {
  /** Means over examples of what the steps logged. */
  readonly metrics: Readonly<Record<string, number>>;
  /** What each step returned. */
  readonly outputs: readonly unknown[];
  readonly batches: number;
  readonly examples: number;
  readonly seconds: number;
}

type PhaseTable = {
  readonly [P in SteppedPhase]: {
    readonly title: Capitalize<P>;
    readonly step: string;
    readonly limit: "limitValBatches" | "limitTestBatches" | "limitPredictBatches";
  };
};
const phases: PhaseTable = {
  validation: { title: "Validation", step: "validationStep", limit: "limitValBatches" },
  test: { title: "Test", step: "testStep", limit: "limitTestBatches" },
  predict: { title: "Predict", step: "predictStep", limit: "limitPredictBatches" },
};

/**
 * Runs a phase: every batch of its split through the module's step, with the hooks around. Sessions are set up where they
 * are not yet; ending them is left to the caller, who may run more.
 * @param options.limit batches at most; default: the session's `run_cfg`
 * @throws SessionError when the module has no such step; the signal's reason when aborted between two batches
 * @example
 * const session = await Session.create({ model, data: "rte/validation.jsonl", moduleCfg: { coreLogDir: "runs/logs" } });
 * const { examples } = await runSteps(session, "test");
 * examples; // 3
 */
export async function runSteps(
  session: SteppedSession,
  phase: SteppedPhase,
  options: {
    readonly limit?: number;
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: StepsProgress) => void;
  } = {},
): Promise<StepsResult> {
  const { title, step, limit: limitKey } = phases[phase];
  const { signal, onProgress, limit = session.cfg.runCfg[limitKey] } = options;
  const run = stepOf(session, step);
  const hook = (moment: string): Promise<void> => session.call(`on${title}${moment}` as LifecycleHook);
  await session.init();
  const { metrics, state } = session.module;
  const start = performance.now();
  const outputs: unknown[] = [];
  let examples = 0;
  metrics.clear();
  await hook("Start");
  await hook("EpochStart");
  for await (const batch of limited(session.datamodule.batches(phase), limit)) {
    signal?.throwIfAborted();
    await hook("BatchStart");
    outputs.push(await run(batch, batch.index));
    await hook("BatchEnd");
    examples += batch.dims[0];
    state.globalStep++;
    onProgress?.({ batches: outputs.length, examples });
  }
  session.logger.info(`${title} epoch end: ${metricsText(metrics.values)}`);
  await hook("EpochEnd");
  await hook("End");
  const seconds = (performance.now() - start) / 1000;
  return { metrics: metrics.values, outputs, batches: outputs.length, examples, seconds };
}

/** Metrics as the published loop prints them. */
export const metricsText = (metrics: Readonly<Record<string, number>>): string =>
  `{${Object.entries(metrics)
    .map(([name, value]) => `'${name}': ${value.toFixed(4)}`)
    .join(", ")}}`;

type Step = (batch: Batch, index: number) => unknown;

/** A step of the module, as it is called. @throws SessionError when the module has none */
export function stepOf({ module }: Pick<SteppedSession, "module">, name: string): Step {
  const step: unknown = Reflect.get(module, name);
  if (typeof step === "function") return (batch, index) => Reflect.apply(step, module, [batch, index]) as unknown;
  throw new SessionError(`the module has no ${name}`, {
    code: "session/step",
    hint: `give defineModule a function that returns an object with ${name}(batch)`,
  });
}

/** The first batches; −1 is all of them. */
async function* limited(batches: AsyncIterable<Batch>, limit: number): AsyncGenerator<Batch> {
  let left = limit < 0 ? Infinity : limit;
  if (left === 0) return;
  for await (const batch of batches) {
    yield batch;
    if (--left <= 0) return;
  }
}
