/** @file Adapters: what a session is composed for, and which go together. */
import { SessionError } from "./errors.ts";

/** The adapters, in the order in which a session names them. */
export const adapters = ["core", "lightning", "sae_lens", "transformer_lens"] as const;
export type Adapter = (typeof adapters)[number];

/** Those that lead a composition: one of them, and only one, is in each. */
const leads: readonly Adapter[] = ["core", "lightning"];
const additions: readonly (readonly Adapter[])[] = [
  [],
  ["transformer_lens"],
  ["sae_lens"],
  ["transformer_lens", "sae_lens"],
];

/** Every combination that a session may have. */
export const validCombinations: readonly (readonly Adapter[])[] = leads.flatMap((lead) =>
  additions.map((more) => [lead, ...more]),
);

const isAdapter = (name: string): name is Adapter => adapters.some((adapter) => adapter === name);

/**
 * Adapters without repetition, sorted by name.
 * @param where the place that an error names
 * @throws SessionError listing the combinations that there are
 * @example
 * canonicalAdapters(["sae_lens", "core"]); // ["core", "sae_lens"]
 */
export function canonicalAdapters(given: readonly string[], where?: string): Adapter[] {
  const sorted = [...new Set(given)].filter(isAdapter).sort();
  const stranger = given.find((name) => !isAdapter(name));
  const valid = validCombinations.some(
    (all) => all.length === sorted.length && all.every((each) => sorted.includes(each)),
  );
  if (stranger === undefined && valid) return sorted;
  throw new SessionError("these adapters are no valid combination", {
    code: "session/adapters",
    where,
    expected: `one of ${validCombinations.map((all) => all.join("+")).join(", ")}`,
    received: given.join("+") || "none",
  });
}
