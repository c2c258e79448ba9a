/** @file What the hub's answer says of a name that may also be a path. */
import { FormatError } from "../errors.ts";

const meanings: Readonly<Record<string, "absent" | "unasked">> = {
  "hub/repo-not-found": "absent",
  "hub/offline": "unasked",
  "hub/unavailable": "unasked",
};

/**
 * Whether an error says that the hub has nothing of a name (`absent`), or that it could not be asked (`unasked`): then the
 * name may be a path that is not there. Undefined for every other error.
 * @example
 * hubAbsence(new Error("no")); // undefined
 */
export const hubAbsence = (error: unknown): "absent" | "unasked" | undefined =>
  error instanceof FormatError ? meanings[error.code] : undefined;

/**
 * What such a name is told.
 * @param what `model`, `SAE`, `data set`
 * @example
 * noneOfThisName("model", "absent"); // "there is no model of this name"
 */
export const noneOfThisName = (what: string, absence: "absent" | "unasked"): string =>
  `there is no ${what} of this name${absence === "absent" ? "" : " here, and the hub could not be asked"}`;
