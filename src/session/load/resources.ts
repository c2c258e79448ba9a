/** @file Where names lead: paths and ids of the hub, as the functions that load take them; components to their folders. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { datasetId } from "../../data/index.ts";
import { FormatError, hubSnapshot, parseHubRef, type HubOptions } from "../../formats/index.ts";
import { saeName } from "../../sae/index.ts";
import { SessionError } from "../errors.ts";

/** What stands behind names. Each gives a path or an id, or throws saying what to do. */
export interface Resources {
  /** As `HookedModel.load` and `loadTokenizer` take it. */
  model(name: string): Promise<string>;
  /** As `Sae.load` takes it. */
  sae(release: string, saeId: string): Promise<string>;
  /** As `openDataset` takes it. */
  dataset(task: string, split: string): Promise<string>;
  /** The folder of a shared component. */
  component(repository: string): Promise<string>;
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const unnamed = (what: string, hint: string): SessionError =>
  new SessionError(`${what} is not named`, { code: "session/unnamed", hint });

/** Paths that exist, else ids of the hub. */
export function hubResources(hub: HubOptions): Resources {
  return {
    async model(name) {
      if (name !== "") return name;
      throw unnamed(
        "the model",
        "give the path of its folder or .gguf file, or its id, as model or model_name_or_path",
      );
    },
    async sae(release, saeId) {
      if (release === "")
        throw unnamed("the SAE's release", "give the path of its folder, or release and sae_id, as sae_cfgs");
      const path = join(release, saeId);
      return (await exists(path)) ? path : saeName(release, saeId);
    },
    async dataset(task, split) {
      if (task !== "") return datasetId(task);
      throw unnamed("the data set", `give a JSONL or Parquet file or an id, as data or data_files.${split}`);
    },
    async component(repository) {
      if (await exists(repository)) return repository;
      const ref = parseHubRef(repository, "model");
      const failed = (message: string, cause?: Error): never => {
        throw new SessionError(message, {
          code: "session/not-found",
          expected: "the path of its folder, or owner/name on the hub",
          received: JSON.stringify(repository),
          cause,
        });
      };
      if (ref === undefined) return failed("the component is not here, and this is no id");
      return hubSnapshot(ref, hub).then(
        ({ folder }) => folder,
        (cause: unknown) => {
          throw cause instanceof FormatError ? failed("the component cannot be fetched", cause) : cause;
        },
      );
    },
  };
}
