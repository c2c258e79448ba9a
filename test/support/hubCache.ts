/** @file What lies in the hub's cache on this machine, in the layout that Python's hub client gives it. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env;
const cache =
  HF_HUB_CACHE ??
  HUGGINGFACE_HUB_CACHE ??
  join(HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface"), "hub");

/** The newest snapshot of a repository that has all these files; undefined where there is none. */
export function cached(repository: string, files: readonly string[]): string | undefined {
  const folder = join(cache, `models--${repository.replaceAll("/", "--")}`);
  if (!existsSync(join(folder, "snapshots"))) return undefined;
  const main = join(folder, "refs/main");
  const first = existsSync(main) ? [readFileSync(main, "utf8").trim()] : [];
  const snapshots = [...first, ...readdirSync(join(folder, "snapshots"))].map((name) =>
    join(folder, "snapshots", name),
  );
  return snapshots.find((snapshot) => files.every((file) => existsSync(join(snapshot, file))));
}
