/** Whether tests that take minutes run at their whole size (`FULL=1`) or at one that shows the same in seconds. */
export const full: boolean = process.env["FULL"] === "1";

/** A matrix of cases with `FULL=1`; else half of it: of each two neighbours one, so that every value of what varies stays. */
export const thinned = <Case>(cases: readonly Case[]): Case[] =>
  cases.filter((_, i) => full || [0, 2, 5, 7].includes(i % 8));
