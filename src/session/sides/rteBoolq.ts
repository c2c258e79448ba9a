/** @file The tutorials' module and data module: does the one text imply the other, Yes or No? */
import type { Batch } from "../../data/index.ts";
import {
  argMax,
  broadcastTo,
  leaf,
  logSumExp,
  max,
  mean,
  squeeze,
  sub,
  takeAlong,
  takeRows,
  unsqueeze,
  type Tensor,
} from "../../graph/index.ts";
import type { TokenBatch } from "../../model/index.ts";
import { ClassCounts, taskMetrics } from "../../train/index.ts";
import type { GenerationConfig, ModuleConfig } from "../config/types.ts";
import type { Log } from "../log.ts";
import { defineDataModule, type DataModuleDefinition } from "./dataModule.ts";
import { defineModule, type ModuleDefinition } from "./module.ts";
import type { ModuleBase } from "./sides.ts";

/** What a step says of a batch. */
export interface StepMetrics {
  readonly accuracy: number;
  /** The predicted class of each row. */
  readonly predictions: readonly number[];
}

/** The steps of the tutorials' module. Tensors are expressions unless said otherwise. */
export interface RteBoolqSteps {
  /** Cross entropy over the vocabulary against the right answer's token: a scalar. */
  trainingStep(batch: Batch): Tensor;
  /** Logs `val_loss` and `accuracy`. */
  validationStep(batch: Batch): Promise<void>;
  /** Logs `accuracy`, of generated tokens where `generative_step_cfg.enabled`. */
  testStep(batch: Batch): Promise<void>;
  predictStep(batch: Batch): Promise<StepMetrics>;
  /** By hand what `logit_diffs_sae` does: columns of each example. */
  analysisStep(batch: Batch): Promise<RteBoolqColumns>;
  /** The token of each row's class, and the classes. */
  labelsToIds(batch: Batch): { readonly labelIds: readonly number[]; readonly labels: readonly number[] };
  /** Logits at each row's answer position [batch, d_vocab], and the labels. */
  logitsAndLabels(batch: Batch): {
    readonly logits: Tensor;
    readonly labelIds: readonly number[];
    readonly labels: readonly number[];
  };
  /**
   * Logits in the shape [batch, positions to consider, classes]. Those over the vocabulary are reduced to the answers';
   * of a whole pass only the answer position is kept, of a generation every new position.
   */
  standardizeLogits(logits: Tensor, batch: Batch): Tensor;
  /** Accuracy of the largest answer over the positions; logged, or only returned. */
  collectAnswers(logits: Tensor, batch: Batch, mode?: "log" | "return"): Promise<StepMetrics>;
}

/** What the analysis step gives: one entry for each row. */
export interface RteBoolqColumns {
  readonly logit_diffs: readonly number[];
  readonly loss: readonly number[];
  readonly preds: readonly number[];
  readonly answer_logits: readonly (readonly number[])[];
  readonly label_ids: readonly number[];
  readonly orig_labels: readonly number[];
  readonly answer_indices: readonly number[];
}

const tasks: readonly string[] = ["rte", "boolq", ""];

/** A task that is not known is warned about and read as rte, as published. */
function knownTask(cfg: ModuleConfig, logger: Log): ModuleConfig {
  if (tasks.includes(cfg.taskName)) return cfg;
  logger.warn(`${cfg.taskName} is an invalid task_name. Proceeding with the default task: 'rte'`);
  return { ...cfg, taskName: "rte" };
}

const column = (values: ArrayLike<number>, tokens: TokenBatch, name: string): Tensor =>
  leaf(BigInt64Array.from(Array.from(values, BigInt)), [tokens.batchSize, 1], { shape: [tokens.batch, 1], name });

/** The answers' entries of logits [batch, n, d_vocab], as [batch, n, classes]. */
function picked(logits: Tensor, batch: Batch): Tensor {
  const [rows, n] = logits.shape;
  const ids = leaf(BigInt64Array.from(Array.from(batch.answerIds, BigInt)), [batch.dims[0], 1, batch.classes], {
    shape: [rows!, 1, batch.classes],
    name: "answer ids",
  });
  return takeAlong(logits, broadcastTo(ids, [rows!, n!, batch.classes]), 2);
}

/**
 * The published module: training, validation, test, predict and analysis steps over the answers of RTE and BoolQ. The
 * answers of BoolQ are mapped rightly by default; the answer is read at each row's last real token, whatever the padding.
 */
export const RteBoolqModule: ModuleDefinition<RteBoolqSteps> = defineModule("RTEBoolqModule", steps, {
  beforeConfig: knownTask,
});

/** The published data module: rows of RTE or BoolQ as prompts; every phase but training reads `validation`. */
export const RteBoolqDataModule: DataModuleDefinition = defineDataModule("RTEBoolqDataModule", () => ({}));

function steps(module: ModuleBase): RteBoolqSteps {
  const generative = module.cfg.generativeStepCfg;
  const atAnswer = (logits: Tensor, batch: Batch): Tensor =>
    takeRows(logits, column(batch.answerIndices, module.input(batch), "answer positions")); // [batch, 1, d_vocab]

  const own: RteBoolqSteps = {
    labelsToIds: ({ labelIds, labels }) => ({ labelIds: [...labelIds], labels: [...labels] }),

    logitsAndLabels(batch) {
      const logits = squeeze(atAnswer(module.trace(batch).logits, batch), 1);
      return { logits, ...own.labelsToIds(batch) };
    },

    standardizeLogits(logits, batch) {
      const wide = logits.rank === 2 ? unsqueeze(logits, 1) : logits;
      if (wide.shape[2] === batch.classes && batch.classes !== module.model.cfg.d_vocab_out) return wide;
      const whole = wide.shape[1] === module.input(batch).pos;
      return picked(whole ? atAnswer(wide, batch) : wide, batch); // [batch, positions, classes]
    },

    async collectAnswers(logits, batch, mode = "log") {
      const best = max(own.standardizeLogits(logits, batch), 1); // [batch, classes]
      const { data } = await module.model.runtime.realize(argMax(best, -1));
      const predictions = Array.from(data as ArrayLike<number | bigint>, Number);
      const counts = new ClassCounts();
      counts.add(batch.labels, predictions);
      if (mode === "log") module.metrics.addClasses(batch.labels, predictions, taskMetrics(module.cfg.taskName));
      return { accuracy: counts.accuracy, predictions };
    },

    trainingStep(batch) {
      return loss(own.logitsAndLabels(batch).logits, batch, module.input(batch));
    },

    async validationStep(batch) {
      const { logits } = own.logitsAndLabels(batch);
      const done = await module.model.runtime.realize({
        loss: loss(logits, batch, module.input(batch)),
        answers: own.standardizeLogits(logits, batch),
      });
      module.log("val_loss", done.loss.item(), batch.dims[0]);
      await own.collectAnswers(done.answers, batch);
    },

    async testStep(batch) {
      if (!generative.enabled) {
        await own.collectAnswers(own.logitsAndLabels(batch).logits, batch);
        return;
      }
      const options = { ...generateOptions(generative.lmGenerationCfg), outputLogits: true, seed: module.seed };
      const { logits } = await module.model.generate(module.input(batch), options);
      await own.collectAnswers(logits!, batch);
    },

    predictStep: (batch) => own.collectAnswers(own.logitsAndLabels(batch).logits, batch, "return"),

    async analysisStep(batch) {
      const saes = "saes" in module ? (module.saes as Parameters<typeof module.model.splice>[0]) : [];
      const tokens = module.input(batch);
      const spliced = module.model.splice(saes, { useErrorTerm: module.cfg.useErrorTerm });
      const values = await spliced.run(tokens, ({ logits }) => {
        const last = atAnswer(logits, batch); // [batch, 1, d_vocab]
        const answers = squeeze(picked(last, batch), 1); // [batch, classes]
        return { answers, total: squeeze(logSumExp(last, -1), 1) };
      });
      return columnsOf(batch, rows(values.answers.toArray(), batch.classes), values.total.toArray());
    },
  };
  return own;
}

/** Mean cross entropy of the right answers' tokens. */
function loss(logits: Tensor, batch: Batch, tokens: TokenBatch): Tensor {
  const right = squeeze(takeAlong(logits, column(batch.labelIds, tokens, "label ids"), 1), 1); // [batch]
  return mean(sub(logSumExp(logits, -1), right));
}

const rows = (values: readonly number[], width: number): number[][] =>
  Array.from({ length: values.length / width }, (_, row) => values.slice(row * width, (row + 1) * width));

function columnsOf(batch: Batch, answers: readonly (readonly number[])[], totals: readonly number[]): RteBoolqColumns {
  const labels = [...batch.labels];
  const right = labels.map((label, row) => answers[row]![label]!);
  const others = labels.map((label, row) => {
    const rest = answers[row]!.filter((_, each) => each !== label);
    return rest.reduce((sum, x) => sum + x, 0) / rest.length;
  });
  return {
    logit_diffs: right.map((x, row) => x - others[row]!),
    loss: right.map((x, row) => totals[row]! - x),
    preds: answers.map((row) => row.indexOf(Math.max(...row))),
    answer_logits: answers,
    label_ids: [...batch.labelIds],
    orig_labels: labels,
    answer_indices: [...batch.answerIndices],
  };
}

/** The published generation options as ours. */
function generateOptions(cfg: GenerationConfig): {
  maxNewTokens: number;
  greedy: boolean;
  temperature: number;
  topK?: number;
  topP?: number;
  stopAtEos: boolean;
  eosTokenId?: number;
  frequencyPenalty: number;
  useCache: boolean;
} {
  const { maxNewTokens, doSample, temperature, topK, topP, stopAtEos, eosTokenId, freqPenalty, usePastKvCache } = cfg;
  const chosen = topP < 1 ? { topP } : { topK };
  return {
    maxNewTokens,
    greedy: !doSample,
    temperature,
    ...(doSample ? chosen : {}),
    stopAtEos,
    ...(eosTokenId === null ? {} : { eosTokenId }),
    frequencyPenalty: freqPenalty,
    useCache: usePastKvCache,
  };
}
