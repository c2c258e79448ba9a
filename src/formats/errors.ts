/** @file The error of everything that reads or writes bytes. */
import { InterpretuneError } from "../graph/errors.ts";

/**
 * A file, an archive or a byte source is not what it should be: missing, truncated, corrupt, hostile or of a kind we do
 * not read. `where` names the file and, where there is one, the tensor or metadata key.
 *
 * Codes: `formats/not-found`, `formats/io`, `formats/truncated`, `formats/invalid`, `formats/unsupported`,
 * `formats/out-of-range`, `formats/unknown-tensor`, `formats/too-large`; `hub/…` where the hub or its cache is at fault.
 *
 * @example
 * ```ts
 * try {
 *   await openSafetensors(memorySource(new Uint8Array(4)));
 * } catch (error) {
 *   if (error instanceof FormatError) console.log(error.code); // formats/truncated
 * }
 * ```
 */
export class FormatError extends InterpretuneError {}

/** Quote a name from a file for a message: control characters escaped, at most 100 characters of it. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 100 ? name.slice(0, 100) + "…" : name);
}
