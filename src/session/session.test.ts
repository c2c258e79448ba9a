import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel, randomSae, shapes } from "../../test/support/random.ts";
import { datasetOf, type Batch, type Dataset } from "../data/index.ts";
import type { HookedModel } from "../model/index.ts";
import type { Sae } from "../sae/index.ts";
import { defineDataModule } from "./dataModule.ts";
import { defineModule } from "./module.ts";
import { Session } from "./session.ts";

let folder: string;
let model: HookedModel;
let saes: Sae[];
let data: Dataset;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-session-"));
  model = randomModel(shapes["gpt2"]!, 1);
  saes = [1, 2].map((layer) => randomSae(model, `blocks.${layer}.attn.hook_z`, "topk", 32, layer));
  const rows = [
    [5, 6, 7],
    [8, 9],
    [4, 4, 4, 4],
    [1, 2, 3],
    [9, 8, 7, 6, 5],
  ];
  data = await datasetOf(
    () => rows.map((input_ids, i) => ({ value: { input_ids, label: i % 2 }, where: `row ${i}` })),
    { name: "ids", length: rows.length },
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

const quiet = { logStream: null } as const;
const moduleCfg = (): { coreLogDir: string; classificationMapping: readonly [number, number] } => ({
  coreLogDir: folder,
  classificationMapping: [2, 3],
});

describe("a session", () => {
  it("is composed of what its adapters add", async () => {
    const session = await Session.create({
      ...quiet,
      model,
      saes,
      data,
      adapterCtx: ["sae_lens", "core"],
      moduleCfg: moduleCfg(),
    });
    expect(session.cfg.adapterCtx).toEqual(["core", "sae_lens"]);
    expect(session.module.saes).toEqual(saes);
    expect(session.module.constructNamesFilter({ targetLayers: [2] })).toEqual([
      "blocks.2.attn.hook_z.hook_sae_acts_post",
    ]);
    expect(Object.keys(session.components)).toEqual(["datamodule", "module"]);
    await session.init();
    expect(session.datamodule.module).toBe(session.module);
  });
});
