/** @file Reference material: small copies in test/goldens, more beside the checkout in ../shared. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, test } from "vitest";
import { fileSource, openSafetensors } from "../../src/formats/index.ts";
import { shared } from "./shared.ts";

const repository = fileURLToPath(new URL("../../", import.meta.url));

/** A path in the repository's own fixtures where it is there, else in the material beside the checkout. */
export function sharedPath(path: string): string {
  const own = join(repository, "test/goldens", path.replace(/^goldens\//, ""));
  return existsSync(own) ? own : shared(path);
}

/**
 * Tests that need reference material; where some of it is neither in the repository nor beside the checkout they are
 * skipped, and their title says what is missing.
 */
export function describeWithGoldens(name: string, needs: readonly string[], body: () => void): void {
  const missing = needs.filter((path) => !existsSync(sharedPath(path)));
  if (missing.length === 0) describe(name, body);
  else
    describe.skip(`${name} (skipped: no ../shared/${missing.join(", ../shared/")})`, () =>
      test("needs the files above"));
}

export interface GoldenTensors {
  has(name: string): boolean;
  numbers(name: string): number[];
  dims(name: string): readonly number[];
  names: readonly string[];
}

/** All tensors of a safetensors file as plain numbers. */
export async function goldenTensors(path: string): Promise<GoldenTensors> {
  const file = await openSafetensors(await fileSource(path));
  const values = new Map<string, { dims: readonly number[]; data: number[] }>();
  for (const name of file.names) {
    const { shape, dtype } = file.info(name);
    const data =
      dtype.startsWith("int") || dtype === "bool" || dtype === "uint8"
        ? Array.from(await file.read(name), Number)
        : Array.from(await file.readFloat32(name));
    values.set(name, { dims: shape, data });
  }
  await file.close();
  const get = (name: string): { dims: readonly number[]; data: number[] } => {
    const found = values.get(name);
    if (found === undefined) throw new Error(`golden ${path} has no tensor ${name}`);
    return found;
  };
  return {
    has: (name) => values.has(name),
    numbers: (name) => get(name).data,
    dims: (name) => get(name).dims,
    names: [...values.keys()],
  };
}
