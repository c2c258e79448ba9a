/** @file Errors that point at the option which names what is not there. */
import { systemCode } from "../../formats/disk/systemError.ts";
import { InterpretuneError } from "../../graph/errors.ts";
import { SessionError } from "../errors.ts";
import { inOptions } from "./read.ts";
import { nodeAt, plain, type Located } from "./yaml.ts";

/**
 * Does what options say, such as loading what they name. Where that is not there, the error says where the first of the
 * options that is given stands.
 * @param options paths with dots between, from the top of a session's file
 */
export type AtOptions = <T>(options: readonly string[], work: () => Promise<T>) => Promise<T>;

/** @param tree a session's file; what TypeScript gives stands nowhere */
export function atOptions(tree: Located): AtOptions {
  return async (options, work) => {
    try {
      return await work();
    } catch (cause) {
      const given = options
        .map((path) => nodeAt(tree, path.split(".")))
        .find((node) => node && (plain(node) ?? "") !== "");
      if (given === undefined || given.where === inOptions || !isAbsence(cause)) throw cause;
      throw new SessionError("what an option names is not there", {
        code: "session/not-found",
        where: given.where,
        received: String(plain(given)),
        cause,
      });
    }
  };
}

/** Whether an error says that something is not there. Errors of a layer have `<layer>/not-found`. */
const isAbsence = (error: unknown): error is InterpretuneError =>
  error instanceof InterpretuneError &&
  (error.code.endsWith("/not-found") || ["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? ""));
