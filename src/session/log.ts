/** @file The log of a session: lines on a stream and in a file, from a level up. */
import { appendFileSync } from "node:fs";

const levels = ["DEBUG", "INFO", "WARNING", "ERROR"] as const;
export type Level = (typeof levels)[number];

/** Where lines for people go. */
export interface LogStream {
  write(text: string): unknown;
}

/** A session's log. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** A log that learns its file later: what was said before is written then. */
export interface OpenLog extends Log {
  attach(file: string): void;
}

/** @param stream null: the file only */
export function openLog(level: Level, stream: LogStream | null, now = (): Date => new Date()): OpenLog {
  let file: string | undefined;
  let pending = "";
  const flush = (): void => {
    if (file === undefined || pending === "") return;
    try {
      appendFileSync(file, pending);
    } catch (cause) {
      // Work goes on where only its log cannot be written.
      stream?.write(`the log ${file} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}\n`);
      file = undefined;
    }
    pending = "";
  };
  const write = (at: Level, message: string): void => {
    if (levels.indexOf(at) < levels.indexOf(level)) return;
    const line = `${now().toISOString()} ${at} ${message}\n`;
    stream?.write(line);
    pending += line;
    flush();
  };
  return {
    attach(path) {
      file = path;
      flush();
    },
    debug: (message) => write("DEBUG", message),
    info: (message) => write("INFO", message),
    warn: (message) => write("WARNING", message),
    error: (message) => write("ERROR", message),
  };
}
