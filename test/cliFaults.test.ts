/** @file What the command line does when something is wrong: one message, a code, and a store that can be resumed. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StoreExport } from "../src/analysis/index.ts";
import { Interrupted } from "../src/cli/index.ts";
import { writeSafetensors } from "../src/formats/index.ts";
import { HookedModel } from "../src/model/index.ts";
import { saveModel } from "../src/model/files/save.ts";
import { uniformAt } from "../src/graph/index.ts";
import { Sae } from "../src/sae/index.ts";
import { cli, document, program, start } from "./support/cli.ts";
import { full } from "./support/full.ts";

const layers = 2;
const width = 16;
const latents = 24;
const context = 24;
let folder: string;
const file = (name: string): string => join(folder, name);

async function makeSae(name: string, hook: string, d_in: number): Promise<void> {
  const made = (dims: number[], seed: number): { dims: number[]; data: Float32Array<ArrayBuffer> } => ({
    dims,
    data: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => uniformAt(seed, i) - 0.5),
  });
  const arrays = {
    W_enc: made([d_in, latents], 1),
    W_dec: made([latents, d_in], 2),
    b_enc: made([latents], 3),
    b_dec: made([d_in], 4),
  };
  const config = { architecture: "standard", d_in, d_sae: latents, metadata: { hook_name: hook } };
  await Sae.fromParams(config, arrays).save(file(name));
}

const row = (i: number, length: number): object => ({
  input_ids: Array.from({ length }, (_, p) => 10 + ((7 * i + 5 * p * p) % 80)),
  label: i % 2,
});
const lines = (rows: readonly object[]): string => rows.map((each) => JSON.stringify(each)).join("\n");

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cli-faults-"));
  const model = HookedModel.fromConfig(
    {
      n_layers: layers,
      d_model: width,
      n_ctx: context,
      d_head: 8,
      n_heads: 2,
      d_mlp: 32,
      d_vocab: 100,
      d_vocab_out: 100,
      act_fn: "gelu",
      initializer_range: 0.4,
    },
    { seed: 3 },
  );
  await saveModel(file("model"), model);
  await saveModel(file("damaged"), model);
  await truncate(file("damaged/model.safetensors"), 5000);
  await makeSae("sae", "blocks.1.hook_resid_pre", width);
  await makeSae("narrow", "blocks.1.hook_resid_pre", width - 1);
  await makeSae("astray", "blocks.7.hook_resid_pre", width);
  await mkdir(file("empty"));
  await mkdir(file("full"));
  await writeFile(file("full/letter.txt"), "mine");
  await writeFile(file("data.jsonl"), lines(Array.from({ length: 6 }, (_, i) => row(i, 6 + (i % 4)))));
  await writeFile(file("long.jsonl"), lines(Array.from({ length: 160 }, (_, i) => row(i, 6 + (i % 13)))));
  await writeFile(file("fields.jsonl"), lines([row(0, 5), { text: "no ids here", label: 1 }]));
  await writeFile(file("strange.jsonl"), lines([{ sentence: "x" }]));
  await writeFile(file("prompts.jsonl"), lines([{ prompt: "a", answers: [" b", " c"], label: 0 }]));
  await writeFile(file("toolong.jsonl"), lines([row(0, 5), row(1, context + 1)]));
  await writeFile(file("broken.jsonl"), `${JSON.stringify(row(0, 5))}\n{"input_ids": [1,`);
  await writeFile(file("tokens.json"), JSON.stringify({ input_ids: [[1, 2, 3]] }));
  await writeFile(file("ragged.json"), JSON.stringify({ input_ids: [[1, 2, 3], [1]] }));
  await writeSafetensors(file("other.safetensors"), {
    acts: { dtype: "float32", shape: [1, width], data: new Float32Array(width) },
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** `analyze` of the small model, with options replaced. */
const analyze = (options: Record<string, string | undefined> = {}): string[] => {
  const all = {
    "--model": file("model"),
    "--saes": file("sae"),
    "--data": file("data.jsonl"),
    "--answers": "3,4",
    ...options,
  };
  return ["analyze", ...Object.entries(all).flatMap(([flag, value]) => (value === undefined ? [] : [flag, value]))];
};
const activations = (...args: string[]): string[] => {
  return ["activations", "--model", file("model"), "--out", file("none.safetensors"), ...args];
};
const tokens = (): string[] => ["--tokens", file("tokens.json")];

/** Name, command line, exit code, what the message must say. */
const faults: readonly (readonly [string, () => string[], number, RegExp])[] = [
  ["no such model", () => analyze({ "--model": file("nowhere") }), 1, /no model at this path.*nowhere/],
  ["a folder that is no model", () => analyze({ "--model": file("empty") }), 1, /config\.json/],
  ["a damaged model", () => analyze({ "--model": file("damaged") }), 1, /truncated.*model\.safetensors/],
  ["no such SAE", () => analyze({ "--saes": file("nowhere") }), 1, /SAE.*does not exist.*nowhere/],
  [
    "an SAE of another width",
    () => analyze({ "--saes": file("narrow") }),
    1,
    /does not fit.*blocks\.1\.hook_resid_pre.*15.*16/,
  ],
  [
    "an SAE at no hook of the model",
    () => analyze({ "--saes": file("astray") }),
    1,
    /blocks\.7\.hook_resid_pre.*nearest names/,
  ],
  ["no SAE", () => analyze({ "--saes": undefined }), 1, /need at least one SAE/],
  ["no SAE at the layers", () => analyze({ "--layers": "0" }), 1, /no SAE is at these layers.*got 0/],
  ["no such data", () => analyze({ "--data": file("nowhere.jsonl") }), 1, /nowhere\.jsonl/],
  ["data sets by name", () => analyze({ "--data": "rte" }), 1, /no data set of this name.*JSONL or Parquet file/],
  [
    "rows of no known kind",
    () => analyze({ "--data": file("strange.jsonl") }),
    1,
    /strange\.jsonl:1.*premise\+hypothesis\+label.*got sentence/,
  ],
  [
    "a later row without the fields",
    () => analyze({ "--data": file("fields.jsonl") }),
    1,
    /input_ids.*fields\.jsonl:2/,
  ],
  ["a row that is not JSON", () => analyze({ "--data": file("broken.jsonl") }), 1, /broken\.jsonl:2/],
  [
    "a row longer than the context",
    () => analyze({ "--data": file("toolong.jsonl") }),
    1,
    /longer than the context.*toolong\.jsonl:2.*24 tokens/,
  ],
  ["texts without a tokenizer", () => analyze({ "--data": file("prompts.jsonl") }), 1, /tokenizer.*input_ids|ids/],
  ["answers as texts without a tokenizer", () => analyze({ "--answers": "Yes,No" }), 1, /tokenizer.*token ids/],
  ["one answer", () => analyze({ "--answers": "3" }), 1, /two or more/],
  [
    "a chat template without tokenizer",
    () => [...analyze({ "--data": file("prompts.jsonl") }), "--chat"],
    1,
    /tokenizer/,
  ],
  ["--out below a file", () => analyze({ "--out": file("data.jsonl/runs") }), 1, /cannot write.*in the way/],
  [
    "--out where something else is",
    () => analyze({ "--out": file("full") }),
    1,
    /not empty and not a store.*letter\.txt/,
  ],
  ["--resume of nothing", () => [...analyze(), "--resume"], 1, /--out/],
  ["an unknown flag", () => [...analyze(), "--bach-size", "3"], 2, /--bach-size.*did you mean.*--batch-size/],
  ["an unknown command", () => ["analyse"], 2, /analyse.*did you mean.*analyze/],
  [
    "a flag without its choice",
    () => analyze({ "--padding-side": "middle" }),
    2,
    /--padding-side is one of left, right.*middle/,
  ],
  ["an unknown analysis", () => analyze({ "--analyses": "base,gard" }), 2, /analyses.*base, sae, grad, ablation/],
  ["no number", () => analyze({ "--limit": "0" }), 2, /limit.*an integer from 1/],
  ["a missing flag", () => ["sae-forward", "--sae", file("sae"), "--out", file("x")], 2, /input/],
  ["a model without data", () => ["analyze", "--model", file("model")], 1, /--data/],
  [
    "a hook that is not there",
    () => activations(...tokens(), "--names", "blocks.*.hook_zz"),
    1,
    /blocks\.\*\.hook_zz.*nearest names/,
  ],
  ["neither text nor tokens", () => activations(), 1, /--text or --tokens/],
  ["text without a tokenizer", () => activations("--text", "hello"), 1, /no tokenizer/],
  ["rows of different lengths", () => activations("--tokens", file("ragged.json")), 1, /differ in length/],
  ["a token file that is none", () => activations("--tokens", file("data.jsonl")), 1, /data\.jsonl.*input_ids/],
  ["nothing to differentiate", () => activations(...tokens(), "--grad-of", "logit:3"), 1, /logit:ID-logit:ID/],
  [
    "an id outside the vocabulary",
    () => activations(...tokens(), "--grad-of", "logit:3-logit:100"),
    1,
    /below 100.*100/,
  ],
  [
    "an output folder that is not there",
    () => ["activations", "--model", file("model"), ...tokens(), "--out", file("no/a.safetensors")],
    1,
    /cannot write.*no folder/,
  ],
  [
    "no tensor `input`",
    () => [
      "sae-forward",
      "--sae",
      file("sae"),
      "--input",
      file("other.safetensors"),
      "--out",
      file("none.safetensors"),
    ],
    1,
    /no tensor `input`.*acts/,
  ],
  ["no store", () => ["export", file("empty")], 1, /not a store/],
  [
    "a prompt and tokens",
    () => ["generate", "--model", file("model"), "--prompt", "x", ...tokens()],
    1,
    /--prompt or --tokens/,
  ],
  [
    "more tokens than the context",
    () => ["generate", "--model", file("model"), ...tokens(), "--max-new-tokens", "99"],
    1,
    /context/,
  ],
];

describe("each fault ends with one message", () => {
  it.each(faults)("%s", async (_, args, code, message) => {
    const before = await readdir(folder, { recursive: true });
    const ended = await cli(args());
    expect(ended.stderr).toMatch(message);
    expect(ended).toMatchObject({ code, stdout: "" });
    const lines = ended.stderr.split("\n").filter((line) => line !== "" && !/^(load|analyze): /.test(line));
    expect(lines.filter((line) => !line.startsWith("  because "))).toHaveLength(1);
    expect(lines[0]).toMatch(/^error: /);
    expect(lines[0]).not.toMatch(/unexpected|\n {4}at /);
    expect((await readdir(folder, { recursive: true })).sort()).toEqual(before.sort());
  });

  it("as a program, too", async () => {
    const ended = await program(analyze({ "--model": file("nowhere"), "--out": file("never") }));
    expect(ended).toMatchObject({ code: 1, stdout: "" });
    expect(ended.stderr).toMatch(/^error: there is no model at this path[^\n]*\n$/);
    expect(await program(["analyze", "--modle", "x"])).toMatchObject({ code: 2, stdout: "" });
    expect(existsSync(file("never"))).toBe(false);
  });
});

/** Every Parquet file of a store with its hash; other files by name. */
async function fingerprint(store: string): Promise<string[]> {
  const entries = (await readdir(store, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const shown = entries.map(async ({ parentPath, name }) => {
    const path = join(parentPath, name);
    const hash = createHash("sha256").update(await readFile(path));
    return `${path.slice(store.length + 1)} ${name.endsWith(".parquet") ? hash.digest("hex") : ""}`;
  });
  return (await Promise.all(shown)).sort();
}

describe("stores", () => {
  const long = (out: string): string[] =>
    analyze({ "--data": file("long.jsonl"), "--batch-size": "2", "--threads": "1", "--out": out });
  let expected: string[];
  beforeAll(async () => {
    expect((await cli(long(file("whole")))).code).toBe(0);
    expected = await fingerprint(file("whole"));
  });

  it("hold a shard per 16 examples of each table and analysis", () => {
    expect(expected).toHaveLength(4 * 2 * 10 + 1);
  });

  it("give the results that a run without one gives", async () => {
    const args = analyze({ "--data": file("long.jsonl"), "--batch-size": "2", "--threads": "1" });
    const { results } = (await document(args)) as { results: unknown };
    expect(results).toEqual(await document(["export", file("whole")]));
  });

  it("are written as CSV, a table at a time", async () => {
    const store = (await document(["export", file("whole")])) as Record<
      string,
      { examples: object[]; latents: object[] }
    >;
    for (const table of ["examples", "latents"] as const) {
      const { stdout } = await cli(["export", file("whole"), "--csv", "--table", table]);
      const rows = stdout.trimEnd().split("\r\n");
      expect(rows[0]).toMatch(/^analysis,example,/);
      expect(rows).toHaveLength(1 + Object.values(store).reduce((n, each) => n + each[table].length, 0));
    }
  });

  it("refuse to be written again, to hold another run, and say so before anything is computed", async () => {
    const again = await cli(long(file("whole")));
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/already holds 40 shards.*--resume/);
    const other = await cli([...long(file("whole")), "--resume", "--diff", "best-other"]);
    expect(other.code).toBe(1);
    expect(other.stderr).toMatch(/another config.*diff: "mean" there, "best-other" here/);
    expect(await fingerprint(file("whole"))).toEqual(expected);
  });

  it("take further analyses later, computing only those", async () => {
    const out = file("later");
    expect((await cli([...long(out), "--analyses", "base"])).code).toBe(0);
    const base = await fingerprint(join(out, "logit_diffs_base"));
    expect((await cli([...long(out), "--analyses", "sae,ablation", "--resume"])).code).toBe(0);
    expect((await cli([...long(out), "--resume"])).code).toBe(0);
    const { runs } = JSON.parse(await readFile(join(out, "manifest.json"), "utf8")) as {
      runs: { examples: number; ablated_pairs: number; threads: number; computed_together: string[] }[];
    };
    expect(runs.map((run) => run.examples)).toEqual([160, 160, 160]);
    expect(runs.map((run) => run.ablated_pairs > 0)).toEqual([false, true, false]);
    expect(runs.map((run) => run.computed_together.length)).toEqual([1, 2, 1]);
    expect(runs[0]!.threads).toBe(1);
    expect(await fingerprint(join(out, "logit_diffs_base"))).toEqual(base);
    const [later, whole] = (await Promise.all(
      [out, file("whole")].map((store) => document(["export", store])),
    )) as Required<StoreExport>[];
    for (const name of ["logit_diffs_base", "logit_diffs_attr_ablation"] as const) {
      const diffs = (store: Required<StoreExport>): number[] => store[name].examples.map((row) => row.logit_diffs);
      expect(diffs(later!)).toBeAllClose(diffs(whole!), 1e-5);
      expect(later![name].latents.length).toBe(whole![name].latents.length);
    }
  });

  it("that lost shards get the same bytes again, in whatever company they are asked for", async () => {
    const out = file("lossy");
    await cp(file("whole"), out, { recursive: true });
    await rm(join(out, "logit_diffs_sae/latents-00003.parquet"));
    await rm(join(out, "logit_diffs_attr_grad/examples-00007.parquet"));
    await truncate(join(out, "logit_diffs_base/examples-00001.parquet"), 100);
    expect((await cli([...long(out), "--analyses", "sae", "--resume"])).code).toBe(0);
    expect((await cli([...long(out), "--analyses", "base,grad", "--resume"])).code).toBe(0);
    expect(await fingerprint(out)).toEqual(expected);
  });

  it("of a run that was interrupted in between are resumed", async () => {
    const controller = new AbortController();
    const out = file("aborted");
    const running = cli(long(out), { signal: controller.signal });
    while (!existsSync(join(out, "logit_diffs_attr_ablation/examples-00001.parquet")))
      await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort(new Interrupted("SIGINT", 130));
    const ended = await running;
    expect(ended.code).toBe(130);
    expect(ended.stderr).toMatch(/^error: interrupted by SIGINT \(what is done is in .*--resume goes on\)$/m);
    const partial = await fingerprint(out);
    expect(partial.length).toBeLessThan(expected.length);
    expect(partial.filter((name) => /\.tmp|\.lock/.test(name))).toEqual([]);
    expect((await cli(["export", out])).stderr).toMatch(/not complete.*--resume/);
    expect((await cli([...long(out), "--resume"])).code).toBe(0);
    expect(await fingerprint(out)).toEqual(expected);
  });

  it("Ctrl-C ends the program with a message and a code", async () => {
    const out = file("ctrl-c");
    const { process: child, finished } = start(long(out));
    while (!existsSync(join(out, "manifest.json"))) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill("SIGINT");
    const ended = await finished;
    expect(ended).toMatchObject({ code: 130, stdout: "" });
    expect(ended.stderr).toContain("--resume");
    expect(existsSync(join(out, ".lock"))).toBe(false);
    expect((await cli([...long(out), "--resume"])).code).toBe(0);
    expect(await fingerprint(out)).toEqual(expected);
  });

  it("kill -9 at random moments, and the store resumes to the same bytes", async () => {
    const out = file("killed");
    for (let kill = 0; kill < (full ? 20 : 1); kill++) {
      const before = existsSync(join(out, "manifest.json"))
        ? (await readFile(join(out, "manifest.json"), "utf8")).length
        : -1;
      const { process: child, finished } = start([...long(out), "--resume"]);
      while (child.exitCode === null && !existsSync(join(out, ".lock")))
        await new Promise((resolve) => setTimeout(resolve, 5));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 800));
      child.kill("SIGKILL");
      expect([0, "SIGKILL"], String(before)).toContain((await finished).code);
    }
    expect((await cli([...long(out), "--resume"])).code).toBe(0);
    expect(await fingerprint(out)).toEqual(expected);
  });
});

it("with --json stdout is the document and tables are on stderr", async () => {
  const made = await cli([...analyze({ "--analyses": "base,sae" }), "--json"]);
  expect(made.code).toBe(0);
  expect(Object.keys((JSON.parse(made.stdout) as { results: object }).results)).toEqual([
    "logit_diffs_base",
    "logit_diffs_sae",
  ]);
  expect(made.stderr).toContain("Accuracy per analysis");
});
