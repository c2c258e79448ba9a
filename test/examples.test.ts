/** The programs of examples/ run from start to end, on a small model. */
import { readdirSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HookedModel } from "../src/model/index.ts";
import { saveModel } from "../src/model/files/save.ts";
import { repository } from "./support/docExamples.ts";
import { useExamples } from "./support/exampleScope.ts";
import { runProgram } from "./support/program.ts";

const data = ["--data", "rte/validation.jsonl"];
const saes = ["--saes", "saes/blocks.9.hook_z", "--saes", "saes/blocks.10.hook_z"];
const tutorial = [
  /Sample ID +\| Prompt +\| Answer +\| Clean Logit Diff/,
  /\| (Yes|No) +\| [+-]\d+\.\d{3} +\|/,
  /logit_diffs_attr_ablation +\|/,
  /Top 2 (positive|negative) total_effect for blocks\.9\.attn\.hook_z\.hook_sae_acts_post/,
  /Ablation-Mediated Latent Analysis for blocks\.10\.attn\.hook_z\.hook_sae_acts_post:/,
  /had total effect -?\d+\.\d\d and was active in \d+ examples/,
  /Attribution Patching vs Ablation total_effect for\s+blocks\.9/,
];
/** What each is called with, and what it is to say. */
const programs: Record<string, { model?: string; args: readonly string[]; says: readonly RegExp[] }> = {
  "hooks.ts": { args: [], says: [] },
  "logitLens.ts": { args: [], says: [/^0_pre +"/m, /^final_post +"/m, /^towards "/m] },
  "patching.ts": { model: "models/shallow", args: [], says: [/Part of the logit difference/, /\|\s+1 \|/] },
  "steering.ts": { args: [], says: [/as it is: /, /steered: {2}/] },
  "tutorial-explicit.ts": { args: [...saes, ...data], says: tutorial },
  "tutorial-ops.ts": { args: [...saes, ...data], says: tutorial },
  "ownOp.ts": { args: [...saes, ...data], says: [/Confidence in the right answer/, /\| +2 \| +0\.\d+ +\| +0\.\d+/] },
  "ownData.ts": { args: saes, says: [/logit_diffs_attr_ablation/, /Top 3 positive total_effect/] },
};

describe("examples", () => {
  let leave: () => Promise<void>;
  beforeAll(async () => {
    const { scope, leave: home } = await useExamples();
    leave = home;
    await saveModel("models/shallow", HookedModel.fromConfig({ ...scope.model.cfg, n_layers: 2 }));
    for (const file of ["tokenizer.json", "tokenizer_config.json"])
      await copyFile(join("models/gpt2", file), join("models/shallow", file));
  });
  afterAll(() => leave());

  test("are all here", () => {
    const files = readdirSync(join(repository, "examples")).filter((file) => file.endsWith(".ts"));
    expect(files.filter((file) => file !== "arguments.ts").sort()).toEqual(Object.keys(programs).sort());
  });

  test.each(Object.entries(programs))("%s", async (file, { model = "models/gpt2", args, says }) => {
    const said = await runProgram(file, ["--model", model, ...args]);
    expect(said.length).toBeGreaterThan(0);
    for (const pattern of says) expect(said.join("\n")).toMatch(pattern);
  });

  test("run again in the process where they have run", async () => {
    const first = await runProgram("hooks.ts", ["--model", "models/gpt2"]);
    expect(first.length).toBeGreaterThan(0);
    expect(await runProgram("hooks.ts", ["--model", "models/gpt2"])).toHaveLength(first.length);
  });
});
