/** @file Checkpoints of training: written whole, read back bit for bit, refused where they are something else. */
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeSafetensors } from "../../formats/index.ts";
import { add, leaf, mul, sum, type Tensor } from "../../graph/index.ts";
import { loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { Learner } from "./learner.ts";

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "interpretune-checkpoint-"))));
afterAll(() => rm(folder, { recursive: true }));

const begin = (): { learner: Learner; w: Tensor; loss: Tensor } => {
  const w = leaf(Float32Array.of(0.1, -0.7, 3), [3]);
  const learner = new Learner({ parameters: new Map([["w", w]]), optimizer: { name: "Adam", lr: 0.1 } });
  return { learner, w, loss: sum(mul(w, add(w, 1))) };
};

describe("a checkpoint", () => {
  it("continues a training bit for bit", async () => {
    const [whole, cut, resumed] = [begin(), begin(), begin()];
    for (let i = 0; i < 5; i++) await whole.learner.step({ loss: whole.loss });
    for (let i = 0; i < 2; i++) await cut.learner.step({ loss: cut.loss });
    cut.learner.setLearningRate(0.1);
    const file = join(folder, "middle.safetensors");
    const buffer = leaf(BigInt64Array.of(7n, 8n), [2]);
    await saveCheckpoint(file, { learner: cut.learner.state(), tensors: { buffer }, record: { step: 2, seed: 9 } });
    const { learner, tensors, record } = await loadCheckpoint(file);
    expect([record, tensors["buffer"]!.data]).toEqual([{ step: 2, seed: 9 }, buffer.data]);
    resumed.learner.restore(learner);
    for (let i = 0; i < 3; i++) await resumed.learner.step({ loss: resumed.loss });
    expect(resumed.w.data).toEqual(whole.w.data);
  });

  it("stays what it was when the next one cannot be written", async () => {
    const { learner } = begin();
    const file = join(folder, "kept.safetensors");
    await saveCheckpoint(file, { learner: learner.state(), record: { step: 1 } });
    const before = await readFile(file);
    const state = learner.state();
    const gone = leaf(Float32Array.of(1), [1]);
    gone.storage!.data = undefined;
    const bad = { ...state, tensors: { ...state.tensors, "parameter.w": gone } };
    await expect(saveCheckpoint(file, { learner: bad, record: { step: 2 } })).rejects.toThrow("disposed");
    expect(await readFile(file)).toEqual(before);
    expect((await readdir(folder)).filter((name) => name.includes("tmp"))).toEqual([]);
  });

  it.each([
    ["another file", {}, "no such metadata"],
    ["damaged metadata", { checkpoint: "{" }, "damaged JSON"],
    ["another version", { checkpoint: '{"version":2}' }, "version"],
  ])("refuses %s", async (_name, metadata, text) => {
    const file = join(folder, "bad.safetensors");
    await writeFile(file, await encodeSafetensors({}, metadata));
    await expect(loadCheckpoint(file)).rejects.toThrow(text);
  });
});
