/** Shared components in use: a session that is given one finds its ops by name, from YAML and from TypeScript. */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { embedded } from "../src/cli/embedded.ts";
import {
  AnalysisRunner,
  bundledOps,
  datasetOf,
  loadComponent,
  manualStep,
  Session,
  withOps,
  type Dataset,
  type SessionOverrides,
  environmentOps,
} from "../src/index.ts";
import { cli } from "./support/cli.ts";
import { randomModel, shapes } from "./support/random.ts";

const model = randomModel(shapes["gpt2"]!, 1);
let root: string;
let data: Dataset;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "interpretune-components-"));
  const rows = [4, 2, 3].map((length, i) => ({
    value: { input_ids: Array.from({ length }, (_, p) => p + i), label: i % 2 },
    where: `row ${i}`,
  }));
  data = await datasetOf(() => rows, { name: "rows" });
});
afterAll(() => {
  rmSync(root, { recursive: true });
  model.dispose();
});

function folder(name: string, files: Readonly<Record<string, string>>): string {
  for (const [file, text] of Object.entries(files)) {
    const path = join(root, name, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  return join(root, name);
}

const component = (): string =>
  folder("shared", {
    "it_component.yaml": `name: shared
kinds: [module, ops]
module: { configs: { demo.tiny.core: demo.tiny.core.yaml } }
ops: { files: [ops.yaml] }
`,
    "demo.tiny.core.yaml": "reg_info: { model_src_key: tiny, model_cfg_key: demo, adapter_combinations: [[core]] }\n",
    "ops.yaml": `collection: { name: ours, version: 1.0.0 }
composite_operations:
  plain_diffs: { composition: labels_to_ids.model_fwd.logit_diffs, aliases: [pd], traits: { requires_grad: false } }
  counted: { composition: plain_diffs.count_rows }
`,
  });

const given = (): SessionOverrides => ({
  ...{ model, data, evalBatchSize: 2, logStream: null },
  moduleCfg: { classificationMapping: [2, 3], coreLogDir: join(root, "logs") },
});
const countRows = manualStep(
  "count_rows",
  { rows: { per: "batch", type: "int32", description: "rows of the batch" } },
  ({ batch }) => ({ rows: batch.dims[0] }),
);
const ops = withOps(bundledOps, [countRows]);

it("a session's YAML names a component, and run_cfg.ops its compositions", async () => {
  const yaml = join(folder("session", {}), "session.yaml");
  mkdirSync(dirname(yaml), { recursive: true });
  writeFileSync(
    yaml,
    `components: [${component()}]\nrun_cfg: { ops: [ours.plain_diffs, pd.count_rows, counted, logit_diffs_base] }\n`,
  );
  const session = await Session.fromConfig(yaml, given());
  const runner = new AnalysisRunner(session, { ops });
  const results = await runner.run();
  expect(Object.keys(results)).toEqual(["plain_diffs", "pd.count_rows", "counted", "logit_diffs_base"]);
  const diffs = (name: string): unknown[] =>
    results[name]!.examples.map((row) => (row as { logit_diffs?: unknown }).logit_diffs);
  expect(diffs("plain_diffs")).toEqual(diffs("logit_diffs_base"));
  expect(results["counted"]).toMatchObject({ batches: [{ rows: 2 }, { rows: 1 }] });
  expect(runner.ops.find("Ours.Plain-Diffs").description).toBe("labels_to_ids.model_fwd.logit_diffs");
  expect([ops.has("plain_diffs"), bundledOps.has("plain_diffs")]).toEqual([false, false]);
});

it("a session is made of a component: its entry, its ops", async () => {
  const session = await Session.fromHub(component(), "demo.tiny.core", given());
  const results = await new AnalysisRunner(session, { ops }).run("counted");
  expect(results["counted"].examples).toHaveLength(3);
  expect(() => new AnalysisRunner(session)).toThrow(/ops.yaml:4:27: there is no op count_rows/);
});

it("two components with one op: an error, unless somebody says who keeps it", async () => {
  const more = "composite_operations: { pd: { composition: model_fwd } }";
  const other = folder("other", { "it_component.yaml": "ops: { files: [o.yaml] }", "o.yaml": more });
  const loaded = await loadComponent(component());
  const session = await Session.create({ ...given(), adapterCtx: ["core"], components: [loaded, other] });
  expect(() => new AnalysisRunner(session, { ops })).toThrow(
    /one name; in .*o.yaml:1:25; got pd, as .*ops.yaml:3:3 has it/,
  );
  const kept = new AnalysisRunner(session, { ops, preferOps: "component" });
  expect(kept.ops.find("pd").name).toBe("pd");
  expect(kept.ops.find("ours.plain_diffs").aliases).toEqual(["ours.plain_diffs", "shared.plain_diffs"]);
});

describe("collections that IT_ANALYSIS_OP_PATHS names", () => {
  const named = async (env: Readonly<Record<string, string>>, more: SessionOverrides = {}): Promise<AnalysisRunner> =>
    new AnalysisRunner(await Session.create({ ...given(), adapterCtx: ["core"], env, ...more }), { ops });
  const paths = (...list: string[]): { IT_ANALYSIS_OP_PATHS: string } => ({
    IT_ANALYSIS_OP_PATHS: list.join(delimiter),
  });
  const steps = (runner: AnalysisRunner, name: string): string[] =>
    runner.ops.find(name).steps.map((step) => step.name);
  const file = (text: string): string => `composite_operations: { ${text} }\n`;

  /** A repository of ops as the hub's cache has it: files are links to blobs. */
  const cached = (composition: string): string => {
    const commit = "a".repeat(40);
    const manifest = "kinds: [ops]\nmodule: { entrypoint: 'package-that-is-not-here#M' }\nops: { files: [ops.yaml] }\n";
    const files = {
      "it_component.yaml": manifest,
      "ops.yaml": `collection: { name: theirs }\n${file(`diffs: { composition: ${composition} }`)}`,
    };
    const at = folder("hub/models--them--their-ops", { "refs/main": commit });
    const snapshot = folder(`hub/models--them--their-ops/snapshots/${commit}`, {});
    mkdirSync(snapshot, { recursive: true });
    for (const [name, text] of Object.entries(files)) {
      const hash = createHash("sha1")
        .update(`blob ${Buffer.byteLength(text)}\0${text}`)
        .digest("hex");
      folder("hub/models--them--their-ops", { [`blobs/${hash}`]: text });
      rmSync(join(snapshot, name), { force: true });
      symlinkSync(join("..", "..", "blobs", hash), join(snapshot, name));
    }
    return at;
  };

  it("are files, folders, components and repositories of the hub's cache, as data", async () => {
    const one = join(folder("lone", { "one.yaml": file("one: { composition: labels_to_ids.model_fwd }") }), "one.yaml");
    const many = folder("many", {
      "a.yml": file("two: { composition: (them.their-ops.diffs).count_rows }"),
      "b.yaml": `collection: { name: b }\n${file("three: { composition: one.logit_diffs }")}`,
      "notes.txt": "not read",
    });
    const repository = cached("labels_to_ids.model_fwd.logit_diffs");
    const runner = await named(paths(one, many, repository, component(), one));
    expect(steps(runner, "them/their-ops/diffs")).toEqual(["labels_to_ids", "model_fwd", "logit_diffs"]);
    expect([runner.ops.find("theirs.diffs"), runner.ops.find("diffs")]).toEqual(
      Array(2).fill(runner.ops.find("them.their_ops.diffs")),
    );
    expect(steps(runner, "two")).toEqual(["labels_to_ids", "model_fwd", "logit_diffs", "count_rows"]);
    expect(steps(runner, "b.three").at(-1)).toBe("logit_diffs");
    const results = await runner.run(["shared.plain_diffs", "two", "(b.three).count_rows"]);
    expect(Object.keys(results)).toEqual(["plain_diffs", "two", "b.three.count_rows"]);
    expect((await named(paths(component()), { components: [component()] })).ops.has("pd")).toBe(true);
  });

  it("by id are those of the cache, and are never fetched", async () => {
    cached("labels_to_ids.model_fwd.logit_diffs");
    const hub = { cacheDir: join(root, "hub") };
    const runner = await named(paths("them/their-ops"), { hub });
    expect(steps(runner, "them.their-ops.diffs")).toHaveLength(3);
    const whole = await Session.create({
      ...given(),
      components: ["them/their-ops"],
      hub: { ...hub, offline: true },
      packages: ["yaml"],
    }).catch((error: Error) => error.message);
    expect(whole).toMatch(/its package/);
    await expect(named(paths("nobody/ops"), { hub })).rejects.toThrow(/IT_ANALYSIS_OP_PATHS, nobody\/ops.*offline/s);
  });

  it("are the ops of bare sides where somebody asks for them", async () => {
    const repository = cached("labels_to_ids.model_fwd.logit_diffs.count_rows");
    const mine = folder("bare", {
      "mine.yaml": `collection: { name: bare }\n${file("diffs: { composition: labels_to_ids, aliases: [d] }")}`,
    });
    const { datamodule, module } = await Session.create({ ...given(), adapterCtx: ["core"], env: {} });
    const bare = async (env: Readonly<Record<string, string>>): Promise<AnalysisRunner> =>
      new AnalysisRunner({ datamodule, module }, { ops: await environmentOps({ env, table: ops }) });
    expect((await bare({})).ops.has("diffs")).toBe(false);
    expect(steps(await bare(paths(mine)), "d")).toEqual(["labels_to_ids"]);
    await expect(bare(paths(mine, repository))).rejects.toThrow("two ops have one name");
    const both = await bare({ ...paths(mine, repository), IT_OP_PRECEDENCE: "them/their-ops" });
    expect(steps(both, "diffs").at(-1)).toBe("count_rows");
  });

  it("with one name are an error, unless IT_OP_PRECEDENCE or prefer_ops says which keeps it", async () => {
    const repository = cached("labels_to_ids.model_fwd.logit_diffs.count_rows");
    const mine = join(
      folder("mine", {
        "mine.yaml": `collection: { name: mine }\n${file("diffs: { composition: labels_to_ids }, logit_diffs_base: { composition: diffs.model_fwd }")}`,
      }),
      "mine.yaml",
    );
    const both = paths(repository, mine);
    await expect(named(both)).rejects.toThrow(/two ops have one name; in .*mine.yaml:2:25; got diffs, as .*prefer_ops/);
    const theirs = await named({ ...both, IT_OP_PRECEDENCE: " them/their-ops , nobody/ops" });
    expect(steps(theirs, "diffs").at(-1)).toBe("count_rows");
    expect(steps(theirs, "mine.diffs")).toEqual(["labels_to_ids"]);
    // As published, bundled ops keep their names where nobody is preferred; and a collection means its own.
    expect(theirs.ops.find("logit_diffs_base")).toBe(bundledOps.find("logit_diffs_base"));
    expect(steps(theirs, "mine.logit_diffs_base")).toEqual(["labels_to_ids", "model_fwd"]);
    const runCfg = { preferOps: ["mine"] };
    const own = await named({ ...both, IT_OP_PRECEDENCE: "them/their-ops" }, { runCfg });
    expect([steps(own, "diffs"), steps(own, "logit_diffs_base")]).toEqual([
      ["labels_to_ids"],
      ["labels_to_ids", "model_fwd"],
    ]);
    expect(steps(own, "theirs.diffs").at(-1)).toBe("count_rows");
  });

  it.each([
    ["a folder without any", {}, "a folder without YAML files"],
    ["a component without ops", { "it_component.yaml": "kinds: []\n" }, "a component without ops.files"],
    ["ops of Python's", { "ops.yaml": "mine: { implementation: os.system }\n" }, /cannot name code; in .*ops.yaml:1:9/],
    ["something else", { "session.yaml": "shared_config: {}\n" }, /session.yaml:1:1.*composite_operations/],
    [
      "a newer one",
      { "o.yaml": `collection: { requires: { interpretune: '>=99' } }\n${file("")}` },
      /o.yaml:1:41.*>=99/,
    ],
  ])("that are none are an error: %s", async (name, files, message) => {
    const at = folder(`none ${name}`, files);
    mkdirSync(at, { recursive: true });
    await expect(named(paths(at))).rejects.toThrow(message);
  });

  it("are there for the command line", async () => {
    const demo = ["--model", embedded.model, "--data", embedded.data, "--limit-batches", "1", "--eval-batch-size", "2"];
    const yaml = join(folder("by cli", { "s.yaml": "run_cfg: { ops: [them.their-ops.diffs] }\n" }), "s.yaml");
    const repository = cached("labels_to_ids.model_fwd.logit_diffs");
    const args = ["run", "--config", yaml, "--run-command", "analyze", ...demo, "--set", `core-log-dir=${root}`];
    const { code, stdout, stderr } = await cli(args, { env: paths(repository) });
    expect([code, stderr.includes("error")]).toEqual([0, false]);
    expect(stdout).toMatch(/diffs .*logit_diffs/);
  });
});
