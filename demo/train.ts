/**
 * @file `npm run demo:train`: makes the demo from nothing but rules and a seed: a small language model that says whether a
 * passage implies a sentence, and SAEs at two of its hook points. Model, SAEs, data, curves and measurements go to the
 * folder `demo/`, or to one that is given; with `saes` after it, only the SAEs are made anew. The same command makes the
 * same files.
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { taskPrompt } from "../src/data/index.ts";
import { HookedModel, loadTokenizer, saveModel } from "../src/model/index.ts";
import { Runtime } from "../src/runtime/index.ts";
import { trainSae } from "../src/train/index.ts";
import { card, percent } from "./card.ts";
import { accuracyOf, trainModel, type Accuracy } from "./model.ts";
import { recipe } from "./recipe.ts";
import { stream, take, type Example, type Split } from "./task.ts";
import { idOf, tokenizerFiles } from "./tokenizer.ts";

const listed = (accuracy: Accuracy): string =>
  Object.entries(accuracy)
    .map(([name, share]) => `${name} ${percent(share)}`)
    .join(", ");
const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** Rows in the columns of SuperGLUE's RTE, with what the task knows of them beside it. */
const lines = (examples: readonly Example[]): string =>
  examples.map((example, idx) => `${JSON.stringify({ ...example, idx })}\n`).join("");

const parts =
  (folder: string): ((...names: string[]) => string) =>
  (...names) =>
    join(folder, ...names);

async function fresh(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { recursive: true });
}

async function makeModel(folder: string): Promise<void> {
  const at = parts(folder);
  await fresh(at("model"));
  await fresh(at("data"));
  const files = tokenizerFiles();
  await writeFile(at("model", "tokenizer.json"), json(files.tokenizer));
  await writeFile(at("model", "tokenizer_config.json"), json(files.config));
  const { seed } = recipe.model;
  for (const split of ["validation", "test"] as const)
    await writeFile(at("data", `${split}.jsonl`), lines(take(split, seed, recipe.held)));

  const runtime = new Runtime({ threads: recipe.threads });
  const start = performance.now();
  const { model, curve } = await trainModel(recipe.model, await loadTokenizer(at("model")), runtime, (point) => {
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    say(`step ${point.step}, ${seconds} s: loss ${point.answers.toFixed(3)}; ${listed(point.accuracy)}`);
  });
  const ids = { bos_token_id: idOf("<s>"), pad_token_id: idOf("<pad>"), eos_token_id: null };
  await saveModel(at("model"), model, {
    layout: "huggingface",
    hfConfig: { model_name: model.cfg.model_name, ...ids },
  });
  const table = curve.map(({ accuracy, ...point }) => Object.entries({ ...point, ...accuracy }));
  const rows = [table[0]!.map(([name]) => name), ...table.map((row) => row.map(([, value]) => value))];
  await writeFile(at("model", "curve.csv"), rows.map((row) => `${row.join(",")}\n`).join(""));
}

async function makeSaes(folder: string): Promise<void> {
  const at = parts(folder);
  await fresh(at("saes"));
  const { seed } = recipe.model;
  const model = await HookedModel.load(at("model"), { runtime: new Runtime({ threads: recipe.threads }) });
  const prompts = function* (split: Split): Generator<string> {
    for (const { premise, hypothesis } of stream(split, seed + 1)) yield taskPrompt(premise, hypothesis);
  };
  const trained = await trainSae({
    ...recipe.saes,
    model,
    data: () => prompts("train"),
    evalData: () => prompts("validation"),
    out: at("saes"),
    metadata: { model_name: "interpretune-demo", dataset_path: "demo" },
    onProgress: ({ step, steps }) => {
      if (step % 250 === 0) say(`SAEs: step ${step} of ${steps}`);
    },
  });
  // Of the training itself, only its curves are kept.
  await rm(at("saes", "checkpoint.safetensors"), { force: true });

  const test = take("test", seed, recipe.held);
  const [header, ...points] = (await readFile(at("model", "curve.csv"), "utf8")).trim().split("\n");
  const text = card({
    recipe,
    parameters: [...model.weights.values()].reduce(
      (n, { shape }) => n + shape.reduce<number>((a, b) => a * Number(b), 1),
      0,
    ),
    curve: points.map((line) =>
      Object.fromEntries(header!.split(",").map((name, i) => [name, Number(line.split(",")[i])])),
    ),
    test: await accuracyOf(model, test),
    spliced: await accuracyOf(model.splice(trained.map(({ sae }) => sae!)), test),
    saes: Object.fromEntries(trained.map(({ name, evaluation }) => [name, evaluation!])),
    examples: test.slice(0, 6),
  });
  await writeFile(at("README.md"), text);
  say(text);
}

const folder = resolve(process.argv[2] ?? "demo");
if (process.argv[3] !== "saes") await makeModel(folder);
await makeSaes(folder);
