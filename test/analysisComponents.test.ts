/** Shared components in use: a session that is given one finds its ops by name, from YAML and from TypeScript. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
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
} from "../src/index.ts";
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
  expect(() => new AnalysisRunner(session, { ops })).toThrow(/one name; in .*o.yaml:1:25; got pd, as plain_diffs/);
  const kept = new AnalysisRunner(session, { ops, preferOps: "component" });
  expect(kept.ops.find("pd").name).toBe("pd");
  expect(kept.ops.find("ours.plain_diffs").aliases).toEqual(["ours.plain_diffs"]);
});
