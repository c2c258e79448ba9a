/** What a model is and will need is told from headers, without reading weights, and is what loading and running take. */
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HookedModel } from "../src/model/index.ts";
import { loadModelFiles } from "../src/model/files/load.ts";
import { memory, Runtime } from "../src/runtime/index.ts";
import { document } from "./support/cli.ts";
import { collect } from "./support/collect.ts";
import { describeWithGoldens, sharedPath } from "./support/goldens.ts";
import { describeWithShared, shared } from "./support/shared.ts";

/** The model of a path, described but not read. */
async function described(path: string): Promise<HookedModel> {
  const { cfg, weights } = await loadModelFiles(path, { headersOnly: true });
  return new HookedModel({ cfg, weights });
}
const held = (owner: string): number =>
  memory
    .entries()
    .filter((entry) => entry.owner === owner)
    .reduce((sum, entry) => sum + entry.bytes, 0);

const families = ["gpt2", "llama-gqa", "gemma2"];
describeWithGoldens(
  "a model of which only headers are read",
  families.map((family) => `goldens/families/${family}`),
  () => {
    test.each(families)(
      "%s has the same parameters and hook points, and forecasts what loading takes",
      async (family) => {
        const path = sharedPath(`goldens/families/${family}`);
        const before = memory.bytes;
        const known = await described(path);
        expect(memory.bytes).toBe(before);
        const ids = [[1, 2, 3, 4]];
        const { weights } = known.runtime.forecast(known.trace(known.batch(ids)).logits);
        const model = await HookedModel.load(path);
        expect(known.describeHooks()).toEqual(model.describeHooks());
        expect([...known.weights].map(([name, x]) => [name, x.shape])).toEqual(
          [...model.weights].map(([name, x]) => [name, x.shape]),
        );
        expect(weights).toBe(held(model.cfg.model_name));
        await expect(known.run(ids)).rejects.toThrow("has not been read");
        model.dispose();
      },
    );
  },
);

describe("info on weights that fill more than memory should", () => {
  const config = {
    model_type: "gpt2",
    architectures: ["GPT2LMHeadModel"],
    vocab_size: 200_000,
    n_positions: 2048,
    n_embd: 4096,
    n_layer: 1,
    n_head: 32,
  };
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "interpretune-info-"));
    const { n_embd: d } = config;
    const shapes: Record<string, number[]> = {
      "transformer.wte.weight": [config.vocab_size, d],
      "transformer.wpe.weight": [config.n_positions, d],
      "transformer.h.0.ln_1.weight": [d],
      "transformer.h.0.ln_1.bias": [d],
      "transformer.h.0.attn.c_attn.weight": [d, 3 * d],
      "transformer.h.0.attn.c_attn.bias": [3 * d],
      "transformer.h.0.attn.c_proj.weight": [d, d],
      "transformer.h.0.attn.c_proj.bias": [d],
      "transformer.h.0.ln_2.weight": [d],
      "transformer.h.0.ln_2.bias": [d],
      "transformer.h.0.mlp.c_fc.weight": [d, 4 * d],
      "transformer.h.0.mlp.c_fc.bias": [4 * d],
      "transformer.h.0.mlp.c_proj.weight": [4 * d, d],
      "transformer.h.0.mlp.c_proj.bias": [d],
      "transformer.ln_f.weight": [d],
      "transformer.ln_f.bias": [d],
    };
    let end = 0;
    const header = JSON.stringify(
      Object.fromEntries(
        Object.entries(shapes).map(([name, shape]) => {
          const start = end;
          end += 4 * shape.reduce((a, b) => a * b, 1);
          return [name, { dtype: "F32", shape, data_offsets: [start, end] }];
        }),
      ),
    );
    const length = new Uint8Array(new BigUint64Array([BigInt(header.length)]).buffer);
    const file = await open(join(folder, "model.safetensors"), "w");
    await file.write(length);
    await file.write(header);
    // A hole: 4.1 GB that take no room on the disk.
    await file.truncate(8 + header.length + end);
    await file.close();
    await writeFile(join(folder, "config.json"), JSON.stringify(config));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("takes neither long nor much", async () => {
    await collect(undefined, 2);
    const [rss, cpu] = [process.memoryUsage.rss(), process.cpuUsage()];
    const told = (await document(["info", folder])) as {
      parameters: number;
      forecast: { weights_bytes: number; run_bytes: number };
    };
    const { user, system } = process.cpuUsage(cpu);
    expect(told.parameters).toBeGreaterThan(1e9);
    expect(told.forecast.weights_bytes).toBe(4 * told.parameters);
    expect(told.forecast.run_bytes).toBeGreaterThan(told.forecast.weights_bytes);
    expect(process.memoryUsage.rss() - rss).toBeLessThan(200e6);
    expect((user + system) / 1e6).toBeLessThan(2);
  });
});

const gguf = "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
describeWithShared("a real model", [gguf], () => {
  test("loading and a run take what was forecast, within a factor of two", async () => {
    const ids = Array.from({ length: 2 }, (_, row) => Array.from({ length: 32 }, (_, i) => 100 + 7 * i + row));
    const known = await described(shared(gguf));
    const forecast = known.runtime.forecast(known.trace(known.batch(ids)).logits);
    await collect(undefined, 2);
    const rss = process.memoryUsage.rss();
    const runtime = new Runtime();
    const model = await HookedModel.load(shared(gguf), { runtime });
    expect(held(model.cfg.model_name)).toBe(forecast.weights);
    const logits = await model.run(ids);
    expect(logits.data.byteLength).toBe(forecast.outputs);
    const grown = process.memoryUsage.rss() - rss;
    expect(grown).toBeGreaterThan(forecast.total / 2);
    expect(grown).toBeLessThan(forecast.total * 2);
    await runtime.dispose();
    model.dispose();
  });
});
