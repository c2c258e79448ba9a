/**
 * @file `npm run bench [-- section …]`: runs each bench in a process of its own and prints one table.
 * With `PEERS_PYTHON=<python with ../shared/peers' requirements>` the Python originals run in the same bench.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { machine, type BenchRow } from "./lib.ts";

const sections = [
  "engine",
  "gemm",
  "forward",
  "analyses",
  "generate",
  "patching",
  "tiny",
  "training",
  "sessionSteps",
  "saeTraining",
  "memory",
  "start",
  "dashboards",
  "tutorial",
  "hub",
] as const;
// `finetune` and `grokking` take minutes and an hour: they run where they are asked for by name.
const asked = process.argv.slice(2).filter((x) => !x.startsWith("--"));
const chosen = asked.length > 0 ? asked : sections;
const rows: BenchRow[] = [];
for (const section of chosen) {
  process.stderr.write(`${section} …\n`);
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(import.meta.dirname, `${section}.js`)], {
    encoding: "utf8",
    maxBuffer: 1e8,
  });
  if (status !== 0) process.stderr.write(stderr);
  for (const line of stdout.split("\n"))
    if (line.startsWith('{"row"')) rows.push(JSON.parse(line) as BenchRow);
    else if (line !== "") process.stderr.write(`${line}\n`);
}
const cells = (r: BenchRow): string[] => [
  String(r.row ?? ""),
  r.what,
  r.ours,
  r.theirs,
  r.ratio === null ? "" : r.ratio >= 100 ? r.ratio.toFixed(0) : r.ratio.toFixed(2),
  r.bar,
  r.holds === null ? "" : r.holds ? "yes" : "no",
];
const table = [
  `Measured ${new Date().toISOString().slice(0, 10)} on ${machine()}.`,
  "",
  "| # | what | ours | against | ratio | bar | holds |",
  "| --- | --- | --- | --- | --- | --- | --- |",
  ...rows.map((r) => `| ${cells(r).join(" | ")} |`),
].join("\n");
console.log(table);
const out = process.argv.find((x) => x.startsWith("--out="));
if (out !== undefined) writeFileSync(out.slice(6), `${table}\n`);
