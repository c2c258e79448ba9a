/** @file `interpretune train-sae`: sparse autoencoders trained on a model's activations. */
import { trainSae as train, type SaeMetrics, type TrainedSae } from "../../train/index.ts";
import type { CliContext } from "../context.ts";
import { CliError, Interrupted } from "../failure.ts";
import { load, loadDocuments, modelMetadata } from "../loading.ts";
import { flagOptions, named, readConfig, type Options } from "../optionFile.ts";
import { aligned, Output } from "../output.ts";
import { Progress } from "../progress.ts";
import { trainSaeOptionNames, type TrainSaeFlags } from "../trainSaeFlags.ts";

/** Options that describe an SAE rather than the run. */
const ofSae = new Set([
  "k",
  ...trainSaeOptionNames.slice(0, trainSaeOptionNames.indexOf("contextSize")),
] as readonly string[]);

export async function trainSae(this: CliContext, flags: TrainSaeFlags): Promise<void> {
  const output = new Output(this, flags.json);
  const { config, threads, resume, offline } = flags;
  const given = flagOptions(flags);
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
  const loaded = await load(this, { model, threads, offline });
  const evalSplit = text("evalSplit");
  const evalData = text("evalData") ?? (evalSplit === undefined ? undefined : data);
  const documents = (path: string, split: string | undefined): ReturnType<typeof loadDocuments> =>
    loadDocuments(this, path, {
      split,
      streaming: flags.streaming ?? options["streaming"] === true,
      offline,
    });
  let progress: Progress | undefined;
  try {
    const trained = await train({
      ...run(options),
      sae: saesOf(options, given),
      model: loaded.model,
      runtime: loaded.model.runtime,
      data: await documents(data, text("split")),
      ...(evalData !== undefined && { evalData: await documents(evalData, evalSplit) }),
      activations: text("activations"),
      out,
      resume: resume ?? false,
      signal: this.signal,
      metadata: { ...(await modelMetadata(model, loaded.model)), dataset_path: data },
      origin: {
        model_name: model,
        dataset_path: data,
        ...(text("split") !== undefined && { dataset_split: text("split") }),
        ...(text("activations") !== undefined && { cached_activations_path: text("activations") }),
      },
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
  } catch (error) {
    progress?.finish("stopped");
    throw error instanceof Interrupted
      ? error.goesOn(`what is done is in ${out}: the same command with --resume goes on`)
      : error;
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
        !ofSae.has(name) &&
        !["model", "data", "split", "streaming", "evalData", "evalSplit", "activations", "out", "sae", "saes"].includes(
          name,
        ),
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
