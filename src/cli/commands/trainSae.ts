/** @file `interpretune train-sae`: sparse autoencoders trained on a model's activations. */
import { parse, YAMLError } from "yaml";
import { formatPrompt, openDataset, taskPrompt } from "../../data/index.ts";
import { jsonLines } from "../../data/lines.ts";
import { fileSource } from "../../formats/index.ts";
import { camelCase } from "../../session/index.ts";
import { trainSae as train, type SaeMetrics, type TrainedSae } from "../../train/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { load } from "../loading.ts";
import { aligned, Output } from "../output.ts";
import { Progress } from "../progress.ts";
import { optionValue, trainSaeOptionNames, type TrainSaeFlags } from "../trainSaeFlags.ts";

type Options = Readonly<Record<string, unknown>>;

/** Keys that SAELens' runner has by another name. */
const otherNames: Readonly<Record<string, string>> = {
  modelName: "model",
  modelNameOrPath: "model",
  datasetPath: "data",
  outputPath: "out",
  cachedActivationsPath: "activations",
  topK: "k",
};
const isOption = (name: string): boolean => (trainSaeOptionNames as readonly string[]).includes(name);
/** Options that describe an SAE rather than the run. */
const ofSae = new Set([
  "k",
  ...trainSaeOptionNames.slice(0, trainSaeOptionNames.indexOf("contextSize")),
] as readonly string[]);

export async function trainSae(this: CliContext, flags: TrainSaeFlags): Promise<void> {
  const output = new Output(this, flags.json);
  const { config, threads, resume } = flags;
  const given: Options = Object.fromEntries(
    Object.entries(flags).flatMap(([name, value]) => {
      if (typeof value !== "string" || name === "config") return [];
      return [[otherNames[name] ?? name, isOption(name) ? optionValue(value) : value]];
    }),
  );
  const file = config === undefined ? {} : await readConfig(config);
  const options: Options = { ...file, ...given };
  const text = (name: string): string | undefined => (typeof options[name] === "string" ? options[name] : undefined);
  const out = text("out");
  const model = text("model");
  const data = text("data");
  if (model === undefined || data === undefined || out === undefined)
    throw new CliError("a training needs a model, data and a folder for its results", {
      code: "cli/train-sae",
      expected: "--model, --data and --out, or model, data and out in --config",
    });
  const loaded = await load(this, { model, threads });
  const evalData = text("evalData");
  let progress: Progress | undefined;
  try {
    const trained = await train({
      ...run(options),
      sae: saesOf(options, given),
      model: loaded.model,
      runtime: loaded.model.runtime,
      data: documents(data),
      ...(evalData !== undefined && { evalData: documents(evalData) }),
      activations: text("activations"),
      out,
      resume: resume ?? false,
      signal: this.signal,
      metadata: { model_name: model, dataset_path: data },
      onProgress: ({ step, steps, metrics }) => {
        progress ??= new Progress({
          label: "train",
          total: steps,
          unit: "step",
          stream: this.process.stderr,
          signal: this.signal,
        });
        progress.update(step, { note: note(Object.values(metrics)[0]!) });
      },
    });
    progress?.finish();
    await output.say(summary(trained, out));
    await output.document(trained.map(document));
  } finally {
    progress?.finish();
  }
}

const note = (metrics: SaeMetrics): string =>
  `loss ${metrics["losses/overall_loss"]!.toPrecision(4)}, L0 ${metrics["metrics/l0"]!.toFixed(1)}, EV ${metrics["metrics/explained_variance"]!.toFixed(3)}`;

/** The options of the run. */
const run = (options: Options): Options =>
  Object.fromEntries(
    Object.entries(options).filter(
      ([name]) =>
        !ofSae.has(name) && !["model", "data", "evalData", "activations", "out", "sae", "saes"].includes(name),
    ),
  );

/** The SAEs: those of the file, with what the file says of all and what flags say; else the one that flags describe. */
function saesOf(options: Options, flags: Options): never {
  const common = (of: Options): Options => Object.fromEntries(Object.entries(of).filter(([name]) => ofSae.has(name)));
  const listed = options["saes"] ?? options["sae"] ?? {};
  const all = (Array.isArray(listed) ? listed : [listed]) as readonly unknown[];
  const saes = all.map((sae): Options => {
    if (typeof sae !== "object" || sae === null || Array.isArray(sae))
      throw new CliError("an SAE of the configuration is not an object", {
        code: "cli/train-sae",
        received: JSON.stringify(sae),
      });
    return { ...common(options), ...named(sae), ...common(flags) };
  });
  return saes as never;
}

const named = (options: object): Options =>
  Object.fromEntries(
    Object.entries(options).map(([name, value]: [string, unknown]) => {
      const own = camelCase(name);
      return [otherNames[own] ?? own, value];
    }),
  );

async function readConfig(path: string): Promise<Options> {
  const source = await fileSource(path);
  const text = new TextDecoder().decode(await source.slice(0).finally(() => source.close()));
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new CliError("the configuration is not YAML", {
      code: "cli/train-sae",
      where: path,
      received: cause instanceof YAMLError ? cause.message.split("\n")[0] : undefined,
      cause,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new CliError("the configuration is not an object", { code: "cli/train-sae", where: path });
  return named(value);
}

/** Documents of a file, read anew each time: lines of text, or the texts, prompts or ids of rows. */
function documents(path: string): () => AsyncGenerator<string | readonly number[]> {
  return async function* () {
    if (path.endsWith(".parquet")) {
      yield* rows(path);
      return;
    }
    const source = await fileSource(path);
    try {
      if (path.endsWith(".txt")) {
        const text = new TextDecoder().decode(await source.slice(0));
        for (const line of text.split("\n")) if (line.trim() !== "") yield line;
        return;
      }
      for await (const { value } of jsonLines(source)) {
        const found = textOf(value);
        if (found === undefined) {
          yield* rows(path);
          return;
        }
        yield found;
      }
    } finally {
      await source.close();
    }
  };
}

function textOf(value: unknown): string | readonly number[] | undefined {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return undefined;
  const { text, prompt, input_ids: ids } = value as Record<string, unknown>;
  if (typeof text === "string") return text;
  if (typeof prompt === "string") return prompt;
  return Array.isArray(ids) && ids.every((id) => typeof id === "number") ? ids : undefined;
}

/** Rows of a task as its prompts. */
async function* rows(path: string): AsyncGenerator<string | readonly number[]> {
  for await (const row of await openDataset(path)) {
    if (row.kind === "input_ids") yield row.ids;
    else yield formatPrompt(row.kind === "prompt" ? row.prompt : taskPrompt(row.first, row.second));
  }
}

function document({ name, folder, evaluation }: TrainedSae): object {
  if (evaluation === undefined) return { name, folder };
  const { density, ...numbers } = evaluation;
  return { name, folder, ...numbers, dead: density.filter((d) => d === 0).length };
}

function summary(trained: readonly TrainedSae[], out: string): string {
  const head = ["", "explained variance", "L0", "CE score", "never fired", "folder"];
  const lines = trained.map(({ name, evaluation: e, folder }) => [
    name,
    e?.explainedVariance.toFixed(4) ?? "",
    e?.l0.toFixed(1) ?? "",
    e?.ceScore.toFixed(4) ?? "",
    e === undefined ? "" : String(e.density.filter((d) => d === 0).length),
    folder ?? "",
  ]);
  return `${aligned([head, ...lines])}\ncurves in ${out}/curves.html`;
}
