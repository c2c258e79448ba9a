import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel, randomSae, shapes } from "../../../test/support/random.ts";
import { tokenData, tokenRows } from "../../../test/support/tokenRows.ts";
import type { Batch } from "../../data/index.ts";
import { gradients, leaf, type Tensor } from "../../graph/index.ts";
import { realize } from "../../runtime/index.ts";
import { runSteps } from "../loop/steps.ts";
import { Session } from "../session.ts";
import type { RteBoolqSteps } from "./rteBoolq.ts";

const rows = tokenRows.slice(0, 5);
const labels = [0, 1, 1, 0, 1];
const answers = [2, 3] as const;
const model = randomModel(shapes["gpt2"]!, 1);
const saes = [randomSae(model, "blocks.1.attn.hook_z", "topk", 32, 1)];
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-steps-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

type Made = Session<"core" | "sae_lens", RteBoolqSteps>;

async function make(evalBatchSize: number, generate = false): Promise<Made> {
  const data = await tokenData(rows.length, labels);
  return Session.create({
    model,
    saes,
    data,
    evalBatchSize,
    adapterCtx: ["core", "sae_lens"],
    logStream: null,
    moduleCfg: {
      coreLogDir: folder,
      entailmentMapping: answers,
      generativeStepCfg: { enabled: generate, lmGenerationCfg: { maxNewTokens: 2, doSample: false, stopAtEos: false } },
    },
  });
}

/** Logits after each row alone, without padding, batches or sessions. */
async function alone(): Promise<number[][]> {
  return Promise.all(
    rows.map(async (row) => {
      const logits = (await model.run([row])).toArray();
      return logits.slice(-30);
    }),
  );
}

const largest = (values: readonly number[]): number => values.indexOf(Math.max(...values));
const entropy = (logits: readonly number[], right: number): number =>
  Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0)) - logits[right]!;

const firstOf = async (session: Made): Promise<Batch> => {
  for await (const batch of session.datamodule.batches("test")) return batch;
  throw new Error("no batch");
};

describe("the tutorials' module", () => {
  it("counts right answers by example, not by batch", async () => {
    const expected = (await alone()).map((row) => largest(answers.map((id) => row[id]!)));
    const right = expected.filter((prediction, i) => prediction === labels[i]).length / rows.length;
    for (const size of [1, 2, 3, 5]) {
      const { metrics, examples } = await runSteps(await make(size), "test");
      expect(examples).toBe(5);
      expect(metrics["accuracy"]).toBeCloseTo(right, 12);
    }
    const { outputs, metrics } = await runSteps(await make(2), "predict");
    expect((outputs as { predictions: number[] }[]).flatMap(({ predictions }) => predictions)).toEqual(expected);
    expect(metrics).toEqual({});
  });

  it("has the loss of the right answers' tokens, as a number and as an expression", async () => {
    const mean =
      (await alone()).map((row, i) => entropy(row, answers[labels[i]!]!)).reduce((a, b) => a + b) / rows.length;
    const session = await make(2);
    const { metrics } = await runSteps(session, "validation");
    expect(metrics["val_loss"]).toBeCloseTo(mean, 5);
    const whole = await make(5);
    await whole.init();
    const loss = whole.module.trainingStep(await firstOf(whole));
    expect((await realize(loss)).item()).toBeCloseTo(mean, 5);
    const [slope] = gradients(loss, [model.weight("blocks.2.mlp.W_out")]);
    expect(Math.max(...(await realize(slope!)).toArray().map(Math.abs))).toBeGreaterThan(0);
  });

  it("classifies by what is generated, over all new positions", async () => {
    const session = await make(2, true);
    await session.init();
    const { metrics } = await runSteps(session, "test");
    let right = 0;
    for (const [i, row] of rows.entries()) {
      const { logits } = await model.generate([row], {
        maxNewTokens: 2,
        greedy: true,
        stopAtEos: false,
        outputLogits: true,
      });
      const values = logits!.toArray();
      const best = answers.map((id) => Math.max(values[id]!, values[30 + id]!));
      if (largest(best) === labels[i]) right++;
    }
    expect(metrics["accuracy"]).toBeCloseTo(right / rows.length, 12);
  });

  it("brings logits into one shape", async () => {
    const session = await make(2);
    await session.init();
    const batch = await firstOf(session);
    const standardizeLogits = (logits: Tensor, of: Batch): Tensor => session.module.standardizeLogits(logits, of);
    const generated = leaf(
      Float32Array.from({ length: 2 * 3 * 30 }, (_, i) => i),
      [2, 3, 30],
    );
    const three = await realize(standardizeLogits(generated, batch));
    expect(three.dims).toEqual([2, 3, 2]);
    expect(three.toArray().slice(0, 6)).toEqual([2, 3, 32, 33, 62, 63]);
    const squeezed = leaf(
      Float32Array.from({ length: 60 }, (_, i) => i),
      [2, 30],
    );
    expect((await realize(standardizeLogits(squeezed, batch))).toArray()).toEqual([2, 3, 32, 33]);
    const chosen = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
    expect((await realize(standardizeLogits(chosen, batch))).dims).toEqual([2, 1, 2]);
    expect(await session.module.collectAnswers(generated, batch, "return")).toMatchObject({ predictions: [1, 1] });
    expect(session.module.labelsToIds(batch)).toEqual({ labelIds: [2, 3], labels: [0, 1] });
  });

  it("does by hand what logit_diffs_sae does", async () => {
    const session = await make(5);
    await session.init();
    const batch = await firstOf(session);
    const columns = await session.module.analysisStep(batch);
    for (const [i, row] of rows.entries()) {
      const logits = (await model.splice(saes).run([row])).toArray().slice(-30);
      const right = answers[labels[i]!]!;
      expect(columns.logit_diffs[i]).toBeCloseTo(logits[right]! - logits[5 - right]!, 4);
      expect(columns.loss[i]).toBeCloseTo(entropy(logits, right), 4);
    }
  });

  it("maps BoolQ's answers rightly without being told, and warns of a task it does not know", async () => {
    const lines: string[] = [];
    const stream = { write: (line: string) => void lines.push(line) };
    const at = (taskName: string): Promise<Session<"core", RteBoolqSteps>> =>
      Session.create({ model, logStream: stream, sharedCfg: { taskName }, moduleCfg: { coreLogDir: folder } });
    expect((await at("boolq")).module.answers).toEqual(["No", "Yes"]);
    expect((await at("rte")).module.answers).toEqual(["Yes", "No"]);
    expect(lines).toEqual([]);
    expect((await at("snli")).module.answers).toEqual(["Yes", "No"]);
    expect(lines[0]).toContain("WARNING snli is an invalid task_name. Proceeding with the default task: 'rte'");
  });
});
