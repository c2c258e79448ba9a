/** @file Version windows such as `>=0.1,<1`. */
import { SessionError } from "../errors.ts";

type Compare = (order: number) => boolean;
const relations: Readonly<Record<string, Compare>> = {
  ">=": (order) => order >= 0,
  "<=": (order) => order <= 0,
  "==": (order) => order === 0,
  "!=": (order) => order !== 0,
  ">": (order) => order > 0,
  "<": (order) => order < 0,
};

const numbers = (version: string): number[] => version.split(".").map(Number);

/** Negative, 0 or positive, as a is before, at or after b; missing numbers are 0. */
function order(a: string, b: string): number {
  const [left, right] = [numbers(a), numbers(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * Whether a version lies in a window: relations with commas between them, all of which must hold.
 * @throws SessionError when the window is not one
 * @example
 * isInWindow("0.1.0", ">=0.1,<1"); // true
 */
export function isInWindow(version: string, window: string, where: string = "the version window"): boolean {
  const release = /^\d+(\.\d+)*/.exec(version)?.[0] ?? "0";
  return window.split(",").every((part) => {
    const found = /^\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*$/.exec(part);
    if (found === null)
      throw new SessionError("this is no version window", {
        code: "session/component",
        where,
        expected: "relations such as >=0.1,<1",
        received: JSON.stringify(window),
      });
    return relations[found[1]!]!(order(release, found[2]!));
  });
}
