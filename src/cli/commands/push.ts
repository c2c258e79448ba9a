/** @file `interpretune push`: a store, a model or SAEs as a repository of the hub. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { AnalysisStore } from "../../analysis/index.ts";
import { hubUpload, parseHubRef, type UploadOptions } from "../../formats/index.ts";
import { formatBytes } from "../../runtime/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { Output } from "../output.ts";
import { Progress } from "../progress.ts";

export interface PushFlags {
  readonly private?: boolean;
  readonly message?: string;
  readonly title?: string;
  readonly license?: string;
  readonly json?: boolean;
}

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() === true;
const megabytes = (bytes: number): number => Math.ceil(bytes / 1e6);

/** A folder with a manifest is a store and becomes a data set; others are sent as they are, as models. */
export async function push(this: CliContext, flags: PushFlags, folder: string, id: string): Promise<void> {
  const { stderr, env } = this.process;
  const { message, title, license } = flags;
  const isStore = await isFile(join(folder, "manifest.json"));
  const ref = parseHubRef(id, isStore ? "dataset" : "model");
  if (ref === undefined)
    throw new CliError("the second argument names a repository, owner/name", { code: "cli/flag", received: id });
  if (!isStore && (title ?? license) !== undefined)
    throw new CliError("--title and --license are for the card of a store", {
      code: "cli/flag",
      received: `${folder}, which has no manifest.json`,
      hint: "a model's card is README.md in its folder",
    });
  let bar: Progress | undefined;
  const options: UploadOptions = {
    signal: this.signal,
    visibility: flags.private === true ? "private" : "public",
    ...(env && { env }),
    ...(message !== undefined && { message }),
    onPlan({ repo, files, totalBytes }) {
      stderr.write(`upload ${files.length} files, ${formatBytes(totalBytes)}, to ${repo}\n`);
      if (totalBytes > 5e6)
        bar = new Progress({
          label: "upload",
          total: megabytes(totalBytes),
          unit: "MB",
          stream: stderr,
          signal: this.signal,
        });
    },
    onProgress: (bytes) => bar?.update(megabytes(bytes)),
  };
  try {
    const done = isStore
      ? await (
          await AnalysisStore.open(folder)
        ).upload(id, { ...options, ...(title !== undefined && { title }), ...(license !== undefined && { license }) })
      : await hubUpload(ref, folder, options);
    const output = new Output(this, flags.json);
    await output.say(`${done.files} files, ${formatBytes(done.totalBytes)}: ${done.url} (${done.commit.slice(0, 7)})`);
    await output.document({ ...done });
  } finally {
    bar?.finish();
  }
}
