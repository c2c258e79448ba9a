/** @file Where names lead to files: paths as they are; ids of a hub through a resolver that is given. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { SessionError } from "./errors.ts";

/** Finds the files behind names. Each gives a path, or throws saying what to do. */
export interface Resources {
  model(name: string): Promise<string>;
  sae(release: string, saeId: string): Promise<string>;
  dataset(task: string, split: string): Promise<string>;
  /** The folder of a shared component. */
  component(repository: string): Promise<string>;
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const notHere = (what: string, name: string, hint: string): SessionError =>
  new SessionError(`${what} is not on this machine, and nothing fetches it yet`, {
    code: "session/not-local",
    received: JSON.stringify(name),
    hint,
  });

/** Paths only. A hub's resolver is laid over it. */
export const localResources: Resources = {
  async model(name) {
    if (name !== "" && (await exists(name))) return name;
    throw notHere("the model", name, "give the path of its folder or .gguf file, as model or model_name_or_path");
  },
  async sae(release, saeId) {
    const path = join(release, saeId);
    if (release !== "" && (await exists(path))) return path;
    throw notHere("the SAE", `${release}/${saeId}`, "give the path of its folder, as saes or sae_cfgs: [{path: …}]");
  },
  async dataset(task, split) {
    throw notHere("the data set", task, `give a JSONL or Parquet file, as data or data_files.${split}`);
  },
  async component(repository) {
    if (await exists(repository)) return repository;
    throw notHere("the component", repository, "give the path of its folder");
  },
};
