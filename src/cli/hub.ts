/** @file The hub on the command line: what will come or go, how far it is, and the switch that allows none. */
import type { DownloadPlan, HubOptions, UploadOptions } from "../formats/index.ts";
import { formatBytes } from "../runtime/index.ts";
import type { CliContext } from "./context.ts";
import { Progress } from "./progress.ts";

export interface HubFlags {
  /** Only what is in the hub's cache. */
  readonly offline?: boolean;
}

/** Options for everything that takes an id, and the end of the bar where something else went wrong. */
export interface CliHub {
  readonly hub: HubOptions;
  readonly finish: () => void;
}

export function cliHub({ process: { stderr, env }, signal }: CliContext, { offline }: HubFlags): CliHub {
  let bar: Progress | undefined;
  const finish = (): void => {
    bar?.finish();
    bar = undefined;
  };
  const hub: HubOptions = {
    signal,
    ...(env === undefined ? {} : { env }),
    ...(offline === undefined ? {} : { offline }),
    onPlan(plan) {
      finish();
      stderr.write(`${planText(plan)}\n`);
      const total = megabytes(plan.totalBytes);
      if (plan.totalBytes > small) bar = new Progress({ label: "download", total, unit: "MB", stream: stderr, signal });
    },
    onProgress({ bytes, filesDone, files }) {
      bar?.update(megabytes(bytes), { note: `${filesDone}/${files} files` });
      if (filesDone === files) finish();
    },
  };
  return { hub, finish };
}

/** Options for what is sent to the hub, and the end of the bar. */
export function cliUpload({ process: { stderr, env }, signal }: CliContext): {
  readonly upload: UploadOptions;
  readonly finish: () => void;
} {
  let bar: Progress | undefined;
  const upload: UploadOptions = {
    signal,
    ...(env === undefined ? {} : { env }),
    onPlan({ repo, files, totalBytes }) {
      stderr.write(`upload ${files.length} files, ${formatBytes(totalBytes)}, to ${repo}\n`);
      const total = megabytes(totalBytes);
      if (totalBytes > small) bar = new Progress({ label: "upload", total, unit: "MB", stream: stderr, signal });
    },
    onProgress: (bytes) => bar?.update(megabytes(bytes)),
  };
  return { upload, finish: () => bar?.finish() };
}

/** Bytes below which a bar would be gone before it is seen. */
const small = 5e6;
const megabytes = (bytes: number): number => Math.ceil(bytes / 1e6);

/** `download openai-community/gpt2@607a30d: model.safetensors, 548 MB (12 MB are here) to ~/…, where 80 GB are free` */
function planText({ repo, files, totalBytes, haveBytes, folder, freeBytes }: DownloadPlan): string {
  const count = files.length === 1 ? files[0]!.path : `${files.length} files`;
  const have = haveBytes > 0 ? ` (${formatBytes(haveBytes)} are here)` : "";
  const free = freeBytes === undefined ? "" : `, where ${formatBytes(freeBytes)} are free`;
  const name = repo.replace(/@([0-9a-f]{7})[0-9a-f]{33}$/, "@$1");
  return `download ${name}: ${count}, ${formatBytes(totalBytes)}${have} to ${folder}${free}`;
}
