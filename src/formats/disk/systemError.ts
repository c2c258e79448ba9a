/** @file What the system says when a file or a folder cannot be read, written or made. */
import { InterpretuneError } from "../../graph/errors.ts";
import { FormatError } from "../errors.ts";

/** What the system threw: of one of our errors, what it tells of. */
export const systemCause = (error: unknown): unknown =>
  error instanceof InterpretuneError ? systemCause(error.cause) : error;

/** The code of a system error such as `EACCES`, also of one that an error of ours tells of; undefined where it is none. */
export function systemCode(error: unknown): string | undefined {
  const cause = systemCause(error);
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
}

/** The system's words without the call, such as `ENOSPC: no space left on device`. */
export function systemMessage(error: unknown): string {
  const cause = systemCause(error);
  return cause instanceof Error ? cause.message.replace(/, \w+( '.*)?$/, "") : String(cause);
}

/** A failure of the file system as a `FormatError`, with the system's error kept as its cause. */
export function fileError(message: string, path: string, cause: unknown, hint?: string): FormatError {
  const system = systemCode(cause) ?? String(cause);
  const missing = system === "ENOENT" || system === "ENOTDIR";
  return new FormatError(message, {
    code: missing ? "formats/not-found" : "formats/io",
    where: path,
    received: missing ? "no such file" : system,
    hint,
    cause,
  });
}
