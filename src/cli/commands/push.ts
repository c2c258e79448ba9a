/** @file `interpretune push`: a store, a model or SAEs as a repository of the hub. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { AnalysisStore } from "../../analysis/index.ts";
import { hubUpload, parseHubRef, type UploadOptions } from "../../formats/index.ts";
import { formatBytes } from "../../runtime/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { cliUpload } from "../hub.ts";
import { Output } from "../output.ts";

export interface PushFlags {
  readonly private?: boolean;
  readonly message?: string;
  readonly title?: string;
  readonly license?: string;
  readonly json?: boolean;
}

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() === true;

/** A folder with a manifest is a store and becomes a data set; others are sent as they are, as models. */
export async function push(this: CliContext, flags: PushFlags, folder: string, id: string): Promise<void> {
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
  const { upload, finish } = cliUpload(this);
  const options: UploadOptions = {
    ...upload,
    visibility: flags.private === true ? "private" : "public",
    ...(message !== undefined && { message }),
  };
  const card = { ...(title !== undefined && { title }), ...(license !== undefined && { license }) };
  try {
    const store = isStore ? await AnalysisStore.open(folder) : undefined;
    const done = await (store?.upload(id, { ...options, ...card }) ?? hubUpload(ref, folder, options));
    const output = new Output(this, flags.json);
    await output.say(`${done.files} files, ${formatBytes(done.totalBytes)}: ${done.url} (${done.commit.slice(0, 7)})`);
    await output.document({ ...done });
  } finally {
    finish();
  }
}
