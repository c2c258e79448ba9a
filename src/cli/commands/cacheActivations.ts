/** @file `interpretune cache-activations`: a model's activations on disk, to train SAEs from. */
import { cacheActivations as cache } from "../../train/index.ts";
import { cacheOptionNames } from "../../train/sae/source/cacheOptions.ts";
import type { CliContext } from "../context.ts";
import { CliError, Interrupted } from "../failure.ts";
import { layersBelow, load, loadDocuments, modelMetadata } from "../loading.ts";
import { flagOptions, named, readConfig, type Options } from "../optionFile.ts";
import { Output } from "../output.ts";
import { Progress } from "../progress.ts";
import type { CacheActivationsFlags } from "../trainSaeFlags.ts";

export async function cacheActivations(this: CliContext, flags: CacheActivationsFlags): Promise<void> {
  const { config, threads, offline, shardMb, hookName } = flags;
  const output = new Output(this, flags.json);
  const file = config === undefined ? {} : await readConfig(config);
  const options: Options = { ...file, ...flagOptions(flags) };
  const text = (name: string): string | undefined => (typeof options[name] === "string" ? options[name] : undefined);
  const [model, data, split] = [text("model"), text("data"), text("split")];
  const streaming = flags.streaming ?? options["streaming"] === true;
  // The shards are where a training with the same file looks for them.
  const out = flags.out ?? text("activations");
  const hookNames = hookName ?? hooksOf(file);
  if (model === undefined || data === undefined || out === undefined || hookNames.length === 0)
    throw new CliError("activations need a model, data, hook points and a folder", {
      code: "cli/cache-activations",
      expected: "--model, --data, --hook-name and --out, or model, data, hook_name and activations in --config",
    });
  const loaded = await load(this, { model, threads, offline }, () => layersBelow(hookNames));
  const { signal } = this;
  let progress: Progress | undefined;
  try {
    const summary = await cache({
      // The configuration may be that of a training, with options that do not matter here.
      ...Object.fromEntries(cacheOptionNames.flatMap((name) => (name in options ? [[name, options[name]]] : []))),
      model: loaded.model,
      data: await loadDocuments(this, data, { split, streaming, offline }),
      hookNames,
      out,
      ...(shardMb !== undefined && { shardBytes: shardMb * 1e6 }),
      metadata: {
        ...(await modelMetadata(model, loaded.model)),
        dataset_path: data,
        ...(split !== undefined && { dataset_split: split }),
      },
      signal,
      onProgress: ({ rows, of }) => {
        const stream = this.process.stderr;
        progress ??= new Progress({ label: "activations", total: of, unit: "tok", stream, signal });
        progress.update(rows);
      },
    });
    progress?.finish();
    const { rows, shards } = summary;
    await output.say(`${rows} activations at ${hookNames.join(", ")} in ${out} (${shards} shards)`);
    await output.document({ out, ...summary });
  } catch (error) {
    progress?.finish("stopped");
    throw error instanceof Interrupted
      ? error.goesOn(`whole shards are in ${out}: the same command goes on after them`)
      : error;
  } finally {
    progress?.finish();
  }
}

/** The hook points of a training's configuration. */
function hooksOf(file: Options): string[] {
  const listed: unknown = file["saes"] ?? file["sae"] ?? [];
  const saes: readonly unknown[] = [file, ...(Array.isArray(listed) ? (listed as readonly unknown[]) : [listed])];
  const names = saes.flatMap((sae) => {
    if (typeof sae !== "object" || sae === null) return [];
    const { hookName, hookNameOut } = named(sae);
    return [hookName, hookNameOut];
  });
  return [...new Set(names.filter((name) => typeof name === "string"))];
}
