/** @file Row 13: process start: `--help`, and first logits of a 500 MB safetensors model on a warm disk. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { saveModel } from "../src/model/files/save.ts";
import { gpt2Small, HookedModel, ms, peers, report } from "./lib.ts";

const here = import.meta.dirname;
/** Milliseconds from the start of a process to its end, or to the time that it prints: the median of five. */
const processTime = (args: readonly string[], { printsTime = false } = {}): number => {
  const times = Array.from({ length: 5 }, () => {
    const start = Date.now();
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
    return (printsTime ? Number(stdout) : Date.now()) - start;
  });
  return times.sort((a, b) => a - b)[2]!;
};

const help = processTime([join(here, "../src/cli/main.js"), "--help"]);
report({
  row: 13,
  what: "interpretune --help",
  ours: ms(help),
  theirs: "",
  ratio: null,
  bar: "< 300 ms",
  holds: help < 300,
});

const folder = mkdtempSync(join(tmpdir(), "bench-"));
try {
  const model = HookedModel.fromConfig(
    { ...gpt2Small, original_architecture: "GPT2LMHeadModel", tie_word_embeddings: true },
    { seed: 1 },
  );
  await saveModel(folder, model, { layout: "huggingface" });
  const script = join(folder, "first.mjs");
  writeFileSync(
    script,
    `import { HookedModel } from ${JSON.stringify(join(here, "../src/model/index.js"))};
const model = await HookedModel.load(${JSON.stringify(folder)});
const logits = await model.run([[1, 2, 3, 4, 5, 6, 7, 8]]);
if (logits.dims[2] !== 50257) process.exit(1);
console.log(Date.now());`,
  );
  const first = processTime([script], { printsTime: true });
  report({
    row: 13,
    what: "process start to first logits, 500 MB safetensors",
    ours: ms(first),
    theirs: "",
    ratio: null,
    bar: "≤ 1500 ms",
    holds: first <= 1500,
  });
  const rows = peers("start", "--wrappers", "", "--repeat", "1");
  const imports = rows.find((r) => r.name === "start.import.transformer_lens")?.value;
  if (imports !== undefined)
    report({
      row: 13,
      what: "the same, against importing TransformerLens alone",
      ours: ms(first),
      theirs: `${ms(imports)} (import only)`,
      ratio: imports / first,
      bar: "≥ 4×",
      holds: imports / first >= 4,
    });
} finally {
  rmSync(folder, { recursive: true });
}
