import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, it } from "vitest";

/** The path of something in `../shared` beside the checkout. */
export const shared = (path: string): string => fileURLToPath(new URL(`../../../shared/${path}`, import.meta.url));

export const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;

/** Tests that need something of `../shared`; where it is absent they are skipped, and their title says what is missing. */
export function describeWithShared(name: string, needs: readonly string[], body: () => void): void {
  const missing = needs.filter((path) => !existsSync(shared(path)));
  if (missing.length === 0) describe(name, body);
  else
    describe.skip(`${name} (skipped: no ../shared/${missing.join(", ../shared/")})`, () => it("needs the files above"));
}
