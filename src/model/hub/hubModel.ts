/** @file Models of the hub by id: which of a repository's files a run needs, and bringing just those. */
import {
  checkpointFiles,
  fileSource,
  hasCheckpoint,
  hubAbsence,
  hubFile,
  hubFiles,
  hubSnapshot,
  hubSource,
  noneOfThisName,
  openCheckpoint,
  parseHubRef,
  type HubOptions,
  type HubRef,
  type OpenFile,
  type TensorFile,
} from "../../formats/index.ts";
import { ModelError } from "../errors.ts";
import { modelId, modelsNear, knownModels } from "./names.ts";

/** Which weights are asked for. */
export interface WeightsWanted {
  /** The tensors that will be read; all without it. */
  readonly needs?: (tensor: string) => boolean;
  /** Only names and shapes: nothing is kept on this machine. */
  readonly headersOnly?: boolean;
}

/** A model's files, wherever they are. */
export interface ModelFiles {
  /** What the model is called. */
  readonly name: string;
  /** On this machine: where config.json and the tokenizer's files are. */
  readonly folder: string;
  readonly openWeights: (wanted: WeightsWanted) => Promise<TensorFile>;
}

/** What an id leads to: a repository's model, or one GGUF file of it. */
export type HubModel = ModelFiles | { readonly gguf: string };

/** The files beside the weights that are read where they are there. */
const smallFiles = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
];

const idsAre = "an id such as gpt2, owner/name, owner/name@revision or owner/name/file.gguf";

/**
 * Finds a model on the hub and brings its configuration and tokenizer; weights come when they are opened.
 * @param looksFor what a path could have been, for errors
 * @throws ModelError for a name that is no id, or that neither the hub nor its cache has; FormatError of the hub's client
 */
export async function findHubModel(name: string, options: HubOptions, looksFor: string): Promise<HubModel> {
  const { refs, file } = namedBy(name);
  let hub = options;
  let failure: unknown;
  for (const ref of await cachedFirst(refs, options))
    try {
      return file === undefined ? await repositoryModel(ref, hub) : { gguf: await hubFile(ref, file, hub) };
    } catch (error) {
      failure ??= error;
      const absence = hubAbsence(error);
      if (absence === undefined) throw error;
      if (absence === "unasked") hub = { ...hub, offline: true }; // asking again would be as long and as much in vain
    }
  const absence = hubAbsence(failure);
  // A name that nobody could be asked about may well be right.
  const near = absence === "unasked" || /^[./~\\]/.test(name) ? [] : modelsNear(name).filter((each) => each !== name);
  throw new ModelError(
    absence === undefined
      ? "there is no model at this path, and it is no model's id"
      : noneOfThisName("model", absence),
    {
      code: "model/not-found",
      where: name,
      expected: `${looksFor}, or ${idsAre}`,
      received: "no such file or folder",
      hint: near.length > 0 ? `near names: ${near.join(", ")}` : undefined,
      cause: failure,
    },
  );
}

/** The repositories that a name may mean, the likeliest first, and the file of it that the name ends in. */
function namedBy(name: string): { refs: readonly HubRef[]; file?: string } {
  const at = name.indexOf("@");
  const base = at < 0 ? name : name.slice(0, at);
  const revision = at < 0 ? "" : name.slice(at);
  const inside = /^([^/]+\/[^/]+)\/(.+\.gguf)$/i.exec(base);
  if (inside) {
    const ref = parseHubRef(inside[1]! + revision, "model");
    return ref === undefined ? { refs: [] } : { refs: [ref], file: inside[2]! };
  }
  const id = modelId(base);
  // Names without an owner are ids only where they are known: all others would be owner/name.
  const isKnown = base.includes("/") || id !== base || knownModels().some((model) => model.id === base);
  const ids = isKnown ? [...new Set([id, base])] : [];
  return { refs: ids.flatMap((each) => parseHubRef(each + revision, "model") ?? []) };
}

/** Where a name has moved, the cache may have the model under the old one: it does not come a second time. */
async function cachedFirst(refs: readonly HubRef[], options: HubOptions): Promise<readonly HubRef[]> {
  if (refs.length < 2) return refs;
  const isCached = (ref: HubRef): Promise<boolean> =>
    hubFiles(ref, { ...options, offline: true }).then(
      () => true,
      () => false,
    );
  const cached = await Promise.all(refs.map(isCached));
  return [...refs.filter((_, i) => cached[i]), ...refs.filter((_, i) => !cached[i])];
}

async function repositoryModel(ref: HubRef, options: HubOptions): Promise<ModelFiles> {
  const { commit, files } = await hubFiles(ref, options);
  const pinned: HubRef = { ...ref, revision: commit };
  const names = files.map(({ path }) => path);
  const lacks = (what: string): ModelError => {
    const gguf = names.filter((path) => path.toLowerCase().endsWith(".gguf"));
    return new ModelError(`the repository has no ${what}`, {
      code: "model/not-found",
      where: ref.repo,
      received: names.length === 0 ? "no files" : names.slice(0, 8).join(", ") + (names.length > 8 ? ", …" : ""),
      hint: gguf.length > 0 ? `name one of its files: ${ref.repo}/${gguf[0]}` : undefined,
    });
  };
  if (!names.includes("config.json")) throw lacks("config.json");
  const { folder } = await hubSnapshot(pinned, { ...options, patterns: smallFiles });
  return {
    name: ref.repo.slice(ref.repo.indexOf("/") + 1),
    folder,
    async openWeights({ needs, headersOnly = false }) {
      const open: OpenFile = async (path) => {
        if (!names.includes(path)) return undefined;
        return headersOnly ? hubSource(pinned, path, options) : fileSource(await hubFile(pinned, path, options));
      };
      if (!hasCheckpoint(names)) throw lacks("model.safetensors or pytorch_model.bin, nor an index of shards");
      const patterns = headersOnly ? [] : await checkpointFiles(names, open, { needs });
      if (patterns.length > 0) await hubSnapshot(pinned, { ...options, patterns });
      return openCheckpoint(open, { needs });
    },
  };
}
