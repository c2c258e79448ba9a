/** @file Loading what a command works on: the model on a runtime of its own, and SAEs or transcoders. */
import { openDocuments, type OpenedDocuments } from "../data/index.ts";
import { HookedModel, modelId } from "../model/index.ts";
import { Runtime } from "../runtime/index.ts";
import { loadLatentModel, type LatentModel } from "../sae/index.ts";
import type { CliContext } from "./context.ts";
import { cliHub, type HubFlags } from "./hub.ts";
import { Progress } from "./progress.ts";

export interface Loaded {
  readonly model: HookedModel;
  readonly saes: readonly LatentModel[];
  /** The block that runs have to stop before, where not all of the model was read. */
  readonly stopAtLayer?: number | undefined;
  readonly seconds: number;
}

/** Milliseconds after which somebody asks whether anything happens. */
const noticeable = 300;

/**
 * Loads a model and SAEs, with a bar where that takes long enough to be seen. `stopAtLayer` says how far of the model a run
 * needs that has these SAEs; the other weights are neither downloaded nor read.
 */
export async function load(
  context: CliContext,
  what: { model: string; saes?: readonly string[]; threads?: number } & HubFlags,
  stopAtLayer: (saes: readonly LatentModel[]) => number | undefined = () => undefined,
): Promise<Loaded> {
  const start = performance.now();
  const { signal } = context;
  const runtime = new Runtime(what.threads === undefined ? {} : { threads: what.threads });
  let progress: Progress | undefined;
  const onProgress = ({ bytes, totalBytes }: { bytes: number; totalBytes: number }): void => {
    if (progress === undefined && performance.now() - start < noticeable) return;
    progress ??= new Progress({
      label: "load",
      total: Math.round(totalBytes / 1e6),
      unit: "MB",
      stream: context.process.stderr,
      signal,
    });
    progress.update(Math.round(bytes / 1e6));
  };
  const { hub, finish } = cliHub(context, what);
  try {
    const saes: LatentModel[] = [];
    for (const path of what.saes ?? []) {
      signal.throwIfAborted();
      saes.push(await loadLatentModel(path, { hub }));
    }
    const last = stopAtLayer(saes);
    const model = await HookedModel.load(what.model, { runtime, signal, onProgress, hub, stopAtLayer: last });
    const stop = last === undefined ? undefined : Math.min(last, model.cfg.n_layers);
    return { model, saes, stopAtLayer: stop, seconds: (performance.now() - start) / 1000 };
  } finally {
    finish();
    progress?.finish();
  }
}

interface DocumentFlags {
  readonly split?: string | undefined;
  readonly streaming?: boolean | undefined;
}

/** Opens documents of a file, or by the id of a data set, with a bar for what has to be downloaded. */
export function loadDocuments(
  context: CliContext,
  path: string,
  { split, streaming, ...flags }: HubFlags & DocumentFlags,
): Promise<OpenedDocuments> {
  const { hub, finish } = cliHub(context, flags);
  return openDocuments(path, { hub, stream: streaming === true, ...(split !== undefined && { split }) }).finally(
    finish,
  );
}

/**
 * What an SAE's cfg.json says of its model, so that others can load it: the id on the hub and the revision, or for files
 * of this machine what the model calls itself.
 */
export async function modelMetadata(given: string, model: HookedModel): Promise<Record<string, unknown>> {
  const { stat } = await import("node:fs/promises");
  const local = await stat(given).then(
    () => true,
    () => false,
  );
  if (local) return { model_name: model.cfg.model_name };
  const [name = given, revision] = given.split("@");
  const [owner, repository] = modelId(name).split("/");
  return {
    model_name: repository === undefined ? owner : `${owner}/${repository}`,
    ...(revision !== undefined && { model_from_pretrained_kwargs: { revision } }),
  };
}

/** The block that a run may stop before which has only these hook points; undefined where it has to see the last one. */
export function layersBelow(globs: readonly string[]): number | undefined {
  const layers = globs.map((glob) => (/^(pos_)?hook_/.test(glob) ? 0 : Number(/^blocks\.(\d+)\./.exec(glob)?.[1]) + 1));
  return layers.some(Number.isNaN) ? undefined : Math.max(...layers);
}
