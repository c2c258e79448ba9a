/**
 * The newer tutorial's analysis by ids only: GPT-2, the release's SAEs in their published format and RTE as Parquet, from a
 * server that speaks the hub's protocol. A GPT-2 that is 32 wide; the numbers are those of the same files from folders.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { AnalysisRunner, attributionTables, latentMetrics, ops } from "../src/analysis/index.ts";
import { Session, type SessionOverrides } from "../src/session/index.ts";
import { cli } from "./support/cli.ts";
import { repository } from "./support/docExamples.ts";
import { writeModel } from "./support/exampleScope.ts";
import { folderFiles, hubServer, type HubServer } from "./support/hubServer.ts";
import { runProgram } from "./support/program.ts";

const saeFolder = fileURLToPath(new URL("goldens/torch/hook-z", import.meta.url));
const saeFiles = folderFiles(saeFolder);
const saePaths = ["L9_", "L10_"].map((layer) =>
  join(
    saeFolder,
    Object.keys(saeFiles).find((name) => name.includes(layer) && name.endsWith(".pt"))!,
  ),
);
const saeIds = ["blocks.9.hook_z", "blocks.10.hook_z"].map((id) => `gpt2-small-hook-z-kk/${id}`);
const rows = [
  { premise: "The cat sat on the mat.", hypothesis: "Nobody slept.", label: 1 },
  { premise: "It rained all day.", hypothesis: "The ground is wet.", label: 0 },
  { premise: "The cat sat on the mat.", hypothesis: "The cat is an animal.", label: 0 },
  { premise: "Anna gave a book to Tom.", hypothesis: "Tom has the book.", label: 0 },
];

let root: string;
let hub: HubServer;
let paths: { model: string; data: string };
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "interpretune-ids-"));
  paths = { model: join(root, "gpt2"), data: join(root, "rte.jsonl") };
  await writeModel(paths.model);
  writeFileSync(paths.data, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const text = (name: "premise" | "hypothesis") => ({
    name,
    data: rows.map((row) => row[name]),
    type: "STRING" as const,
  });
  const label = { name: "label", data: rows.map((row) => BigInt(row.label)), type: "INT64" as const };
  const parquet = new Uint8Array(parquetWriteBuffer({ columnData: [text("premise"), text("hypothesis"), label] }));
  hub = await hubServer();
  hub.add({ id: "openai-community/gpt2", files: folderFiles(paths.model) });
  hub.add({ id: "ckkissane/attn-saes-gpt2-small-all-layers", files: saeFiles });
  hub.add({
    ...{ type: "dataset", id: "aps/super_glue" },
    files: { "rte/validation-00000-of-00001.parquet": parquet, "rte/train-00000-of-00001.parquet": parquet },
  });
});
afterAll(async () => {
  await hub.close();
  rmSync(root, { recursive: true });
});
const variables = (): Record<string, string> => ({
  HF_ENDPOINT: hub.endpoint,
  HF_HUB_CACHE: join(root, "cache"),
  HF_HUB_DISABLE_IMPLICIT_TOKEN: "1",
  HF_HUB_OFFLINE: "0",
});
beforeEach(() => {
  for (const [name, value] of Object.entries(variables())) vi.stubEnv(name, value);
});
afterEach(() => void vi.unstubAllEnvs());

test("a session of the registry, by its own ids", async () => {
  const analysed = async (given: SessionOverrides) => {
    const coreLogDir = mkdtempSync(join(root, "log-"));
    const overrides = { evalBatchSize: 2, logStream: null, moduleCfg: { coreLogDir }, ...given };
    const session = await Session.fromRegistry("rte_demo.gpt2.sae_lens", overrides);
    const runner = new AnalysisRunner(session, { limitAnalysisBatches: 2, ignoreManual: true });
    const results = await runner.run([
      ops.logitDiffsBase,
      ops.logitDiffsSae,
      ops.logitDiffsAttrGrad,
      ops.logitDiffsAttrAblation,
    ]);
    const { logit_diffs_sae: sae, logit_diffs_attr_ablation: ablation } = results;
    const tables = attributionTables(latentMetrics(ablation, { activations: sae }), { topK: 3 });
    await session.end();
    return {
      numbers: Object.values(results).map(({ examples, latents }) => ({ examples, latents })),
      text: String(tables),
      pages: session.module.saes.map((each) => each.cfg.metadata.neuronpedia_id),
    };
  };
  const byIds = await analysed({});
  const byPaths = await analysed({ ...paths, saes: saePaths });
  expect(byIds.numbers).toEqual(byPaths.numbers);
  expect(byIds.numbers[0]!.examples).toHaveLength(4);
  expect(byIds.text).toBe(byPaths.text);
  expect(byIds.pages).toEqual(["gpt2-small/9-att-kk", "gpt2-small/10-att-kk"]);
});

/** Lines without times, rates, sizes, places and what others hold in this process. */
const told = (lines: readonly string[]): string[] =>
  lines
    .join("\n")
    .split("\n")
    .filter(
      (line) =>
        !/seconds|\bMB\b|\bkB\b| ms\b|\/s\b|Neuronpedia|neuronpedia|\| cpu +\||^\| Name +\| Object|^\+[-=+]+\+$|^(Allocated|Total|Free) =/.test(
          line,
        ),
    );

test("the tutorial's program, without an argument", async () => {
  const program = async (...args: string[]): Promise<string[]> => {
    const home = process.cwd();
    process.chdir(mkdtempSync(join(root, "run-")));
    const said = await runProgram("tutorial-ops.ts", args).finally(() => process.chdir(home));
    return told(said);
  };
  const byIds = await program();
  const saes = saePaths.flatMap((path) => ["--saes", path]);
  const byPaths = await program("--model", paths.model, "--data", paths.data, ...saes);
  expect(byIds).toEqual(byPaths);
  expect(byIds.length).toBeGreaterThan(20);
});

interface Analysed {
  readonly results: unknown;
  readonly [key: string]: unknown;
}

test("the command line: interpretune analyze --model gpt2 --saes … --data rte", async () => {
  const home = process.cwd();
  process.chdir(mkdtempSync(join(root, "cli-")));
  try {
    const env = { ...variables(), HF_HUB_CACHE: join(root, "cli-cache") };
    const analyze = async (args: readonly string[]) => {
      const { code, stdout, stderr } = await cli(["analyze", ...args, "--batch-size", "2", "--json"], { env });
      expect(stderr).not.toMatch(/^error/m);
      expect(code).toBe(0);
      const { timings: _, seconds: __, ...document } = JSON.parse(stdout) as Analysed;
      return { document, stderr };
    };
    const saes = (names: readonly string[]): string[] => names.flatMap((name) => ["--saes", name]);
    const ids = ["--model", "gpt2", ...saes(saeIds), "--data", "rte"];
    const byIds = await analyze(ids);
    expect(byIds.stderr).toMatch(
      /download openai-community\/gpt2@[0-9a-f]{7}: model\.safetensors, [\d.]+ MB to .*cli-cache.*free/,
    );
    expect(byIds.stderr).toMatch(/download datasets\/aps\/super_glue@[0-9a-f]{7}: rte\/validation/);
    const byPaths = await analyze(["--model", paths.model, ...saes(saePaths), "--data", paths.data]);
    expect(byIds.document).toEqual(byPaths.document);
    hub.recent();
    const offline = await analyze([...ids, "--offline"]);
    expect(offline.document).toEqual(byPaths.document);
    expect(hub.recent()).toEqual([]);
    expect(offline.stderr).not.toContain("openai-community/gpt2");
    rmSync(join(root, "cli-cache/datasets--aps--super_glue"), { recursive: true });
    expect((await analyze([...ids, "--streaming"])).document).toEqual(byPaths.document);
    expect(existsSync(join(root, "cli-cache/datasets--aps--super_glue/snapshots"))).toBe(false);
  } finally {
    process.chdir(home);
  }
});

test("the command line: info, tokenize, generate, a session file; unknown names", async () => {
  const run = (...args: string[]) => cli(args, { env: variables() });
  const info = await run("info", "gpt2");
  expect(info.stdout).toMatch(/GPT2LMHeadModel/);
  expect((await run("tokenize", "--model", "gpt2", "--text", "The cat")).stdout).toMatch(/2 tokens|3 tokens/);
  const generated = await run(
    "generate",
    "--model",
    "gpt2",
    "--prompt",
    "The cat",
    "--greedy",
    "--max-new-tokens",
    "2",
  );
  expect(generated.code).toBe(0);
  writeFileSync(
    join(root, "rte.yaml"),
    `adapter_ctx: [core, sae_lens]
shared_config: {model_name_or_path: gpt2, task_name: rte}
registered_cfg:
  datamodule_cfg: {dataset_path: "aps/super_glue:rte", eval_batch_size: 2}
  module_cfg: {core_log_dir: ${root}, sae_cfgs: [{release: gpt2-small-hook-z-kk, sae_id: blocks.9.hook_z}]}
`,
  );
  const session = await run("run", "--config", join(root, "rte.yaml"), "--run-command", "test");
  expect(session.stderr).not.toMatch(/^error/m);
  expect(session.stdout).toMatch(/examples +\| +4/);
  const near = await run("info", "gpt2-mediun");
  expect([near.code, near.stderr]).toEqual([1, expect.stringContaining("near names: gpt2-medium")]);
  const sae = await run(
    "analyze",
    "--model",
    paths.model,
    "--saes",
    "gpt2-small-hook-z-kk/blocks.9.hookz",
    "--data",
    "rte",
  );
  expect(sae.stderr).toMatch(/near ones: blocks\.9\.hook_z/);
});

test("interpretune models and saes list and search", async () => {
  const models = await cli(["models", "pythia 70m"]);
  expect(models.stdout).toMatch(/EleutherAI\/pythia-70m-deduped +pythia-70m-deduped/);
  expect(models.stdout).not.toMatch(/gpt2/);
  const found = JSON.parse((await cli(["saes", "gpt2-small hook-z", "--json"])).stdout) as { saes: { name: string }[] };
  expect(found.saes.map(({ name }) => name)).toEqual(
    Array.from({ length: 12 }, (_, layer) => `gpt2-small-hook-z-kk/blocks.${layer}.hook_z`),
  );
  const all = await cli(["saes"]);
  expect(all.stdout).toMatch(/gemma-scope-2b-pt-res-canonical +gemma-2-2b +58 +gemma_2\n/);
  expect(all.stdout).toMatch(/llama_scope, not read yet/);
  expect(all.stdout).toContain("13857 SAEs of 170 releases");
  expect((await cli(["saes", "nothing like it"])).stdout).toBe("none\n");
  expect(readFileSync(join(repository, "src/sae/registry/table.ts")).length).toBeLessThan(300_000);
});
