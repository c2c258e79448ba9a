/** @file What the functions of the hub take, and what they tell while they work. */
import type { HubStore } from "./store.ts";

/** Where an option is not given, the variables that Python's client knows decide. */
export interface HubOptions {
  /** The cache's folder. Default: `HF_HUB_CACHE`, `HF_HOME/hub` or `~/.cache/huggingface/hub`. */
  readonly cacheDir?: string;
  /** Default `HF_ENDPOINT` or `https://huggingface.co`. */
  readonly endpoint?: string;
  /** Default `HF_TOKEN` or the token file; an empty text sends none. It is never shown. */
  readonly token?: string;
  /** Only the cache, no requests. Default `HF_HUB_OFFLINE`. */
  readonly offline?: boolean;
  /** An abort stops within one piece of data; what has come stays and is resumed. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: HubProgress) => void;
  /** Called before anything is downloaded, if something has to be; throw to refuse. */
  readonly onPlan?: (plan: DownloadPlan) => void;
  /** The variables that decide where an option is not given. Default: those of the process. */
  readonly env?: Readonly<Partial<Record<string, string>>>;
  /** Stands in for the global `fetch`. */
  readonly fetch?: typeof fetch;
  /** Keeps the files somewhere else than in a folder: {@link browserStore}. */
  readonly store?: HubStore;
  /** Milliseconds before the first retry, doubled at each further one. Default 500. */
  readonly retryDelay?: number;
  /** Milliseconds that a server may be silent before it is tried again. Default `HF_HUB_DOWNLOAD_TIMEOUT` or 10 s. */
  readonly timeout?: number;
}

/** What a download is going to bring. */
export interface DownloadPlan {
  /** `openai-community/gpt2`, `datasets/aps/super_glue` */
  readonly repo: string;
  readonly commit: string;
  /** The files to come. `have` bytes of a file are here from an earlier, interrupted download. */
  readonly files: readonly { readonly path: string; readonly size: number; readonly have: number }[];
  /** Bytes of the files to come, and how many of them are here already. */
  readonly totalBytes: number;
  readonly haveBytes: number;
  /** Where the files go, and how much room there is; undefined where the system does not tell. */
  readonly folder: string;
  readonly freeBytes: number | undefined;
}

/** How far a download has come; sizes in bytes. */
export interface HubProgress {
  readonly repo: string;
  /** The file that just grew or became whole. */
  readonly file: string;
  /** Of all files of the plan, bytes from an earlier download among them. */
  readonly bytes: number;
  readonly totalBytes: number;
  readonly filesDone: number;
  readonly files: number;
  /** How many of the bytes came with an earlier download. */
  readonly resumed: number;
}
