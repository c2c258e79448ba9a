/** @file What a command gets from the process it runs in, so that tests can give it something else. */
import type { CommandContext } from "@stricli/core";

/** The part of a Node stream that commands need. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): boolean | void;
  once?(event: "drain", listener: () => void): unknown;
}

export interface CliProcess {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env?: Readonly<Partial<Record<string, string>>>;
  exitCode?: number | string | null;
}

export interface CliContext extends CommandContext {
  readonly process: CliProcess;
  /** Aborts with the {@link Interrupted} to report. */
  readonly signal: AbortSignal;
}
