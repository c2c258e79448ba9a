/** @file The folder of an experiment, and the record of what it ran on. */
import { execFile } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";
import { arch, cpus, platform, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { makeFolder } from "../../formats/disk/folder.ts";
import { systemCause, systemCode } from "../../formats/disk/systemError.ts";
import type { JsonObject } from "../../formats/index.ts";
import { packageVersion } from "../../formats/packageVersion.ts";
import type { Runtime } from "../../runtime/index.ts";
import { SessionError } from "../errors.ts";

const two = (value: number): string => String(value).padStart(2, "0");

/** `YYYYmmdd_HHMMSS`, local time. */
function stamp(date: Date): string {
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  return `${day}_${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
}

/**
 * Makes `<base or the temporary folder>/<YYYYmmdd_HHMMSS>_<tag>`; where two experiments start in one second, the later
 * one's name ends in `_2` and so on.
 * @throws SessionError when the folder cannot be made
 */
export async function makeExperimentFolder(base: string | null, tag: string, now: Date = new Date()): Promise<string> {
  const parent = base ?? join(tmpdir(), "interpretune");
  const name = `${stamp(now)}_${tag.replaceAll(/[^\w.+-]/g, "-")}`;
  try {
    await makeFolder(parent);
    for (let again = 1; ; again++) {
      const folder = join(parent, again === 1 ? name : `${name}_${again}`);
      const made = await mkdir(folder).then(
        () => true,
        (error: NodeJS.ErrnoException) => (error.code === "EEXIST" ? false : Promise.reject(error)),
      );
      if (made) return folder;
    }
  } catch (cause) {
    throw new SessionError("the experiment folder cannot be made", {
      code: "session/folder",
      where: join(parent, name),
      received: systemCode(cause),
      hint: "choose another place with core_log_dir",
      cause: systemCause(cause),
    });
  }
}

/** What a result may depend on beside its configuration: versions, provider, threads, the commit of the present folder. */
export async function environmentRecord(runtime: Runtime): Promise<JsonObject> {
  const { backend } = runtime;
  const [commit, changes] = await Promise.all([git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno")]);
  return {
    interpretune: await packageVersion(),
    onnxruntime: await dependencyVersion("onnxruntime-node"),
    node: process.versions.node,
    platform: `${platform()} ${release()} ${arch()}`,
    cpu: cpus()[0]?.model.trim() ?? null,
    cores: cpus().length,
    memory_bytes: totalmem(),
    provider: backend.name,
    device: backend.device,
    threads: backend.threads ?? null,
    commit,
    uncommitted_changes: changes === null ? null : changes !== "",
  };
}

/** What git says of the present folder; null where there is none. */
const git = (...args: string[]): Promise<string | null> =>
  promisify(execFile)("git", args, { timeout: 5000 }).then(
    ({ stdout }) => stdout.trim(),
    () => null,
  );

async function dependencyVersion(name: string): Promise<string | null> {
  const url = new URL(`../../../package.json`, import.meta.url);
  const { dependencies } = JSON.parse(await readFile(url, "utf8")) as { dependencies?: Record<string, string> };
  return dependencies?.[name] ?? null;
}
