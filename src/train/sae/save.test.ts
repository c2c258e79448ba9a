import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithGoldens, sharedPath } from "../../../test/support/goldens.ts";
import { relativeError } from "../../../test/support/saeGolden.ts";
import { saeTrainingCases, saeTrainingGolden } from "../../../test/support/saeTrainingGolden.ts";
import { leaf } from "../../graph/index.ts";
import { Runtime } from "../../runtime/index.ts";
import { Sae } from "../../sae/index.ts";
import { saveTrained } from "./save.ts";

const runtime = new Runtime({ threads: 1 });
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "interpretune-save-"));
});
afterAll(() => rm(folder, { recursive: true }));

describeWithGoldens("a trained SAE is saved as SAELens saves it", ["goldens/sae-training"], () => {
  test.each(saeTrainingCases)("%s", async (name) => {
    const { cfg, tensors } = await saeTrainingGolden(name);
    const parameters = Object.fromEntries(
      [...tensors].filter(([key]) => key.startsWith("init.")).map(([key, array]) => [key.slice(5), array]),
    );
    const topkThreshold = tensors.get("step2.topk_threshold")?.data[0] ?? 0;
    const own = join(folder, name);
    await saveTrained(own, cfg, { parameters, topkThreshold, scalingFactor: 1, metadata: {} });
    const saes = [
      await Sae.load(own),
      await Sae.load(sharedPath(`goldens/sae-training/${name}/inference_after_training`)),
    ];
    expect(saes[0]!.cfg.architecture).toBe(saes[1]!.cfg.architecture);
    expect(saes[0]!.cfg.metadata["training_architecture"]).toBe(saes[1]!.cfg.metadata["training_architecture"]);
    const details = saes.map((sae) => sae.cfg.metadata["training_architecture_details"] as Record<string, unknown>);
    for (const [key, value] of Object.entries(details[1]!))
      if (key !== "use_sparse_activations") expect(details[0]![key], key).toEqual(value);
    const batch = tensors.get("batch.0")!;
    const x = leaf(batch.data, batch.dims);
    const [ours, theirs] = await runtime.realize(
      saes.map((sae) => ({ acts: sae.encode(x).acts, out: sae.forward(x) })),
    );
    expect(relativeError(ours!.acts.toArray(), theirs!.acts.toArray())).toBeLessThan(1e-5);
    expect(relativeError(ours!.out.toArray(), theirs!.out.toArray())).toBeLessThan(1e-5);
  });
});
