/** @file Data sets of the hub by id: which Parquet files of a repository a split is. */
import {
  fileAtRest,
  FormatError,
  hubAbsence,
  hubFiles,
  hubSnapshot,
  hubSource,
  noneOfThisName,
  parseHubRef,
  type ByteSource,
  type HubOptions,
  type HubRef,
} from "../formats/index.ts";
import { nearest } from "../graph/nearest.ts";
import { DataError } from "./errors.ts";

/** One file of a data set. */
export interface DataFile {
  readonly name: string;
  readonly open: () => Promise<ByteSource>;
}

/** Short names of the tasks that the tutorials are about. */
const aliases: Readonly<Record<string, string>> = { rte: "aps/super_glue:rte", boolq: "aps/super_glue:boolq" };

/**
 * The id that a short name stands for; other names are themselves.
 * @example
 * datasetId("rte"); // "aps/super_glue:rte"
 */
export function datasetId(name: string): string {
  return aliases[name.toLowerCase()] ?? name;
}

/** Where the hub keeps data sets that were published in other formats, as Parquet. */
const converted = "refs/convert/parquet";

const expected =
  "a JSONL or Parquet file, rte, boolq, or an id such as owner/name or owner/name:config, with @revision if need be";

/**
 * The files of a split.
 * @param stream read them by ranges, as rows are needed, instead of keeping them on this machine
 */
export async function findHubDataset(
  given: string,
  { split, hub, stream }: { readonly split: string; readonly hub: HubOptions; readonly stream: boolean },
): Promise<{ name: string; files: readonly DataFile[] }> {
  const at = given.indexOf("@");
  const base = at < 0 ? given : given.slice(0, at);
  const [repo, config, ...more] = datasetId(base).split(":");
  const isFile = /\.(jsonl?|parquet|csv|txt|gz)$/i.test(base);
  const named =
    repo!.includes("/") && !isFile ? parseHubRef(repo! + (at < 0 ? "" : given.slice(at)), "dataset") : undefined;
  if (named === undefined || more.length > 0 || config === "")
    throw notFound("there is no file at this path, and it is no data set's id", given);
  try {
    const { ref, paths } = await splitPaths(named, config, split);
    const name = `${named.repo}${config === undefined ? "" : `:${config}`}@${ref.revision!.slice(0, 12)}, ${split}`;
    if (stream) return { name, files: paths.map((path) => ({ name: path, open: () => hubSource(ref, path, hub) })) };
    const { folder } = await hubSnapshot(ref, { ...hub, patterns: paths });
    return { name, files: paths.map((path) => ({ name: path, open: () => fileAtRest(`${folder}/${path}`) })) };
  } catch (error) {
    const absence = hubAbsence(error);
    if (absence === undefined) throw error;
    throw notFound(noneOfThisName("data set", absence), given, error as Error);
  }

  async function splitPaths(
    ref: HubRef,
    config: string | undefined,
    split: string,
  ): Promise<{ ref: HubRef; paths: string[] }> {
    const { commit, files } = await hubFiles(ref, hub);
    const splits = splitsOf(files.map(({ path }) => path));
    const paths =
      splits.get(`${config ?? ""}/${split}`) ?? (config === undefined ? splits.get(`default/${split}`) : undefined);
    if (paths !== undefined) return { ref: { ...ref, revision: commit }, paths };
    if (splits.size === 0 && ref.revision === undefined)
      try {
        return await splitPaths({ ...ref, revision: converted }, config, split);
      } catch (error) {
        if (!(error instanceof FormatError) || error.code !== "hub/revision-not-found") throw error;
      }
    if (splits.size === 0)
      throw new DataError("the data set has no files that are read", {
        code: "data/split",
        where: given,
        expected: "Parquet or JSON Lines files, named after their split",
        received: files.length === 0 ? "no files" : listed(files.map(({ path }) => path)),
      });
    throw noSplit(splits, given, config, split);
  }
}

const listed = (names: readonly string[]): string => names.slice(0, 5).join(", ") + (names.length > 5 ? ", …" : "");

/** What a data set has instead of a split, and what to write. */
function noSplit(
  splits: ReadonlyMap<string, readonly string[]>,
  given: string,
  config: string | undefined,
  split: string,
): DataError {
  const there = [...splits.keys()].map((key): [config: string, split: string] => {
    const slash = key.lastIndexOf("/");
    return [key.slice(0, slash), key.slice(slash + 1)];
  });
  const configs = [...new Set(there.map(([name]) => name))];
  const own = there.filter(([name]) => name === config || (config === undefined && /^(default)?$/.test(name)));
  const near = config === undefined ? configs[0]! : nearest(config, configs, 1)[0]!;
  const [name = "", revision = ""] = given.split(/(?=@)/);
  const id = datasetId(name).split(":")[0]! + (near === "" ? "" : `:${near}`) + revision;
  return new DataError("the data set has no such split", {
    code: "data/split",
    where: given,
    expected: there
      .slice(0, 12)
      .map(([name, part]) => (name === "" ? `split ${part}` : `${name}, split ${part}`))
      .join("; "),
    received: config === undefined ? `split ${split}` : `${config}, split ${split}`,
    hint:
      own.length > 0
        ? `choose another split, such as ${
            nearest(
              split,
              own.map(([, part]) => part),
            )[0]!
          }`
        : `name a configuration: ${id}`,
  });
}

/**
 * Files by `config/split`. Known are `config/split-00000-of-00001.parquet`, the same with a hash at the end,
 * `data/split-…`, `split.jsonl`, and `config/split/0000.parquet`.
 */
function splitsOf(paths: readonly string[]): Map<string, string[]> {
  const splits = new Map<string, string[]>();
  const form = /^(?:(.+?)\/)??(?:([\w.]+)(?:-\d{5}-of-\d{5}(?:-[0-9a-f]{16})?)?|([\w.-]+)\/\d+)\.(?:parquet|jsonl)$/;
  for (const path of [...paths].sort()) {
    const [, folder = "", direct, below] = form.exec(path) ?? [];
    const split = direct ?? below;
    if (split === undefined) continue;
    const key = `${folder === "data" ? "" : folder}/${split}`;
    splits.set(key, [...(splits.get(key) ?? []), path]);
  }
  return splits;
}

function notFound(message: string, given: string, cause?: Error): DataError {
  const near = nearest(given, Object.keys(aliases), 1, 0.5).filter((name) => name !== given.toLowerCase());
  return new DataError(message, {
    code: "data/not-found",
    where: given,
    expected,
    received: "no such file",
    hint: near.length > 0 ? `did you mean ${near[0]!}?` : undefined,
    cause,
  });
}
