/**
 * @file Compiles src/train/sae/sparse/kernels.as (AssemblyScript) into kernels.wasm.ts beside it. Run it after a change of
 * the kernels; the compiler is fetched for the occasion and is no dependency.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = join(import.meta.dirname, "../src/train/sae/sparse");
const work = mkdtempSync(join(tmpdir(), "kernels-"));
try {
  copyFileSync(join(folder, "kernels.as"), join(work, "kernels.ts"));
  const options = [
    "--runtime",
    "stub",
    "--enable",
    "simd",
    "--importMemory",
    "-O3",
    "--noAssert",
    "-o",
    "kernels.wasm",
  ];
  execFileSync("npx", ["--yes", "--package", "assemblyscript@0.27.31", "asc", "kernels.ts", ...options], {
    cwd: work,
    stdio: "inherit",
  });
  const text = readFileSync(join(work, "kernels.wasm")).toString("base64");
  const lines = text.match(/.{1,110}/g).map((line) => `  "${line}"`);
  writeFileSync(
    join(folder, "kernels.wasm.ts"),
    `/** @file kernels.as, compiled by scripts/build-kernels.mjs (assemblyscript 0.27.31). */
export const kernelBytes: string =
${lines.join(" +\n")};
`,
  );
} finally {
  rmSync(work, { recursive: true });
}
