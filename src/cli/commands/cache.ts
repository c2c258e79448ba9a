/** @file `interpretune cache`: what lies in the hub's cache, whether it is whole, and what may go. */
import { Table } from "../../display/index.ts";
import { defaultCacheDir, parseHubRef, type HubRef } from "../../formats/index.ts";
import { listCache, prunable, removeItems, verifyCache, type CacheItem } from "../../formats/hub/manage.ts";
import { formatBytes } from "../../runtime/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { Output } from "../output.ts";
import { Progress } from "../progress.ts";

export interface CacheFlags {
  readonly repo?: string;
  readonly cacheDir?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

type Verb = (context: CliContext, output: Output, cacheDir: string, flags: CacheFlags) => Promise<void>;

export async function cache(this: CliContext, flags: CacheFlags, verb = "list"): Promise<void> {
  const act = verbs.get(verb);
  if (act === undefined)
    throw new CliError("there is list, verify and prune", { code: "cli/cache", received: JSON.stringify(verb) });
  await act(this, new Output(this, flags.json), flags.cacheDir ?? (await defaultCacheDir(this.process.env)), flags);
}

const list: Verb = async (_, output, cacheDir, flags) => {
  const wanted = repoOf(flags);
  const repos = (await listCache(cacheDir)).filter(
    ({ repo, type }) => wanted === undefined || (repo === wanted.repo && type === wanted.type),
  );
  const columns = ["Repository", "Revisions", "Files", "Size", "Last used"].map((label) => ({ key: label, label }));
  const rows = repos.map(({ type, repo, revisions, size, lastUsed }) => [
    type === "model" ? repo : `datasets/${repo}`,
    revisions.map(({ commit, refs }) => [commit.slice(0, 7), ...refs].join(" ")).join(", "),
    revisions.reduce((sum, { files }) => sum + files, 0),
    formatBytes(size),
    lastUsed.toISOString().slice(0, 10),
  ]);
  const size = repos.reduce((sum, repo) => sum + repo.size, 0);
  if (repos.length > 0) await output.say(String(new Table(columns, rows)));
  await output.say(`${counted(repos.length, "repository", "repositories")}, ${formatBytes(size)} in ${cacheDir}`);
  await output.document({ cacheDir, size, repositories: repos });
};

const verify: Verb = async (context, output, cacheDir, flags) => {
  let bar: Progress | undefined;
  const result = await verifyCache(cacheDir, {
    ref: repoOf(flags),
    signal: context.signal,
    onFile(_, before, all) {
      const total = Math.ceil(all / 1e6);
      bar ??= new Progress({
        label: "verify",
        unit: "MB",
        total,
        stream: context.process.stderr,
        signal: context.signal,
      });
      bar.update(Math.round(before / 1e6));
    },
  });
  bar?.update(Math.ceil(result.bytes / 1e6));
  bar?.finish();
  const { checked, bytes, damaged } = result;
  await output.document({ cacheDir, checked, bytes, damaged, removed: damaged.length > 0 && flags.yes === true });
  if (damaged.length === 0) {
    await output.say(`${counted(checked, "file", "files")}, ${formatBytes(bytes)}: all are what their names say`);
    return;
  }
  await output.say(lines(damaged));
  if (flags.yes) {
    await removeItems(damaged);
    await output.say(`removed; the next use downloads ${damaged.length === 1 ? "it" : "them"} again`);
  } else
    throw new CliError(
      `${damaged.length} of ${counted(checked, "file", "files")} in the cache ${damaged.length === 1 ? "is" : "are"} damaged`,
      {
        code: "cli/cache",
        where: cacheDir,
        hint: "`interpretune cache verify --yes` removes them, so that the next use downloads them again",
      },
    );
};

const prune: Verb = async (_, output, cacheDir, flags) => {
  const items = await prunable(cacheDir, repoOf(flags));
  const size = items.reduce((sum, item) => sum + item.size, 0);
  if (flags.yes) await removeItems(items);
  await output.document({ cacheDir, size, items, removed: flags.yes === true });
  if (items.length === 0) return output.say(`nothing to remove in ${cacheDir}`);
  await output.say(lines(items));
  await output.say(
    flags.yes
      ? `removed ${formatBytes(size)}`
      : `${formatBytes(size)} would be free; --yes removes ${items.length === 1 ? "it" : "them"}`,
  );
};

const verbs: ReadonlyMap<string, Verb> = new Map([
  ["list", list],
  ["verify", verify],
  ["prune", prune],
]);

/** `--repo owner/name`, `--repo datasets/owner/name` */
function repoOf({ repo }: CacheFlags): HubRef | undefined {
  if (repo === undefined) return undefined;
  const ref = repo.startsWith("datasets/") ? parseHubRef(repo.slice(9), "dataset") : parseHubRef(repo, "model");
  if (ref && ref.revision === undefined) return ref;
  throw new CliError("--repo takes the id of a repository", {
    code: "cli/flag",
    expected: "owner/name or datasets/owner/name",
    received: JSON.stringify(repo),
  });
}

const lines = (items: readonly CacheItem[]): string =>
  items.map(({ path, size, reason }) => `${path} (${formatBytes(size)}): ${reason}`).join("\n");

const counted = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`;
