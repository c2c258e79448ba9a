import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { memorySource } from "./byteSource.ts";
import { checkpointFiles, openCheckpoint, writeCheckpoint, type OpenFile } from "./checkpoint.ts";
import { fileSource } from "./disk/fileSource.ts";
import { encodeSafetensors, writeSafetensors, type TensorData } from "./safetensors/writer.ts";

const INDEX = "model.safetensors.index.json";
let root: string;
let folder: string;
let count = 0;
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), "checkpoint-"))));
beforeEach(() => mkdir((folder = join(root, String(count++)))));
afterAll(() => rm(root, { recursive: true }));

const vector = (...values: number[]): TensorData => ({
  dtype: "float32",
  shape: [values.length],
  data: new Float32Array(values),
});
const tensors = { "b.w": vector(1, 2, 3), "a.w": vector(4, 5), "c.w": vector(6), d: vector(7, 8, 9, 10) };
const index = (weightMap: unknown) =>
  writeFile(join(folder, INDEX), JSON.stringify({ metadata: {}, weight_map: weightMap }));

describe("a checkpoint folder", () => {
  it("is one file where it fits", async () => {
    expect(await writeCheckpoint(folder, tensors)).toEqual(["model.safetensors"]);
    const file = await openCheckpoint(folder);
    expect(file.metadata.get("format")).toBe("pt");
    expect(await file.read("d")).toEqual(new Float32Array([7, 8, 9, 10]));
    await file.close();
  });

  it("is shards and an index as Hugging Face names them where it does not", async () => {
    const names = await writeCheckpoint(folder, tensors, { maxShardBytes: 16 });
    expect(names).toEqual([
      "model-00001-of-00003.safetensors",
      "model-00002-of-00003.safetensors",
      "model-00003-of-00003.safetensors",
      INDEX,
    ]);
    expect(JSON.parse(await readFile(join(folder, INDEX), "utf8"))).toEqual({
      metadata: { total_size: 40 },
      weight_map: {
        "a.w": "model-00002-of-00003.safetensors",
        "b.w": "model-00001-of-00003.safetensors",
        "c.w": "model-00002-of-00003.safetensors",
        d: "model-00003-of-00003.safetensors",
      },
    });
    const file = await openCheckpoint(folder);
    expect(file.names.toSorted()).toEqual(Object.keys(tensors).toSorted());
    expect([...(await file.readMany(["d", "a.w", "c.w"]))]).toEqual([
      ["d", new Float32Array([7, 8, 9, 10])],
      ["a.w", new Float32Array([4, 5])],
      ["c.w", new Float32Array([6])],
    ]);
    expect((await file.readManyFloat32()).get("b.w")).toEqual(new Float32Array([1, 2, 3]));
    expect(file.info("c.w").shape).toEqual([1]);
    expect(() => file.info("e")).toThrow(/no tensor "e"/);
    await file.close();
  });

  it("leaves nothing of the checkpoint it replaces, and nothing else is touched", async () => {
    await writeFile(join(folder, "config.json"), "{}");
    await writeCheckpoint(folder, tensors, { maxShardBytes: 16 });
    await writeCheckpoint(folder, tensors, { maxShardBytes: 30 });
    expect((await readdir(folder)).filter((name) => name.includes("of-00003"))).toEqual([]);
    await writeCheckpoint(folder, tensors);
    expect(await readdir(folder)).toEqual(["config.json", "model.safetensors"]);
    await writeCheckpoint(folder, tensors, { maxShardBytes: 30 });
    expect(await readdir(folder)).not.toContain("model.safetensors");
  });

  it("reads only model.safetensors, or the shards of its index", async () => {
    await writeSafetensors(join(folder, "consolidated.safetensors"), { x: vector(1) });
    await writeFile(join(folder, "stray.safetensors"), "not one");
    await expect(openCheckpoint(folder)).rejects.toThrow(/has no weights.*model\.safetensors or/);
    await writeSafetensors(join(folder, "part.safetensors"), { x: vector(2), unlisted: vector(3) });
    await index({ x: "part.safetensors" });
    const file = await openCheckpoint(folder);
    expect(file.names).toEqual(["x"]);
    expect(await file.read("x")).toEqual(new Float32Array([2]));
    await expect(file.read("unlisted")).rejects.toThrow(/no tensor/);
    await file.close();
  });

  it.each([
    "../other/model.safetensors",
    "/etc/model.safetensors",
    "sub/model.safetensors",
    "..\\x.safetensors",
    "..safetensors",
    "C:x.safetensors",
    "model.bin",
    "",
    7,
  ])("refuses the shard name %j", async (name) => {
    await index({ x: name });
    await expect(openCheckpoint(folder)).rejects.toThrow(/not a file of weights beside the index/);
  });

  it("names a shard that is missing and a tensor that is not where the index says", async () => {
    await index({ x: "a.safetensors" });
    await expect(openCheckpoint(folder)).rejects.toThrow(/shard is missing.*a\.safetensors/);
    await writeSafetensors(join(folder, "a.safetensors"), { y: vector(1) });
    await expect(openCheckpoint(folder)).rejects.toThrow(/shard "a\.safetensors" does not have.*"x"/);
  });

  it.each([["[]"], ['{"weight_map":[]}'], ['{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}'], ["{"]])(
    "refuses the index %s",
    async (text) => {
      await writeFile(join(folder, INDEX), text);
      await expect(openCheckpoint(folder)).rejects.toMatchObject({ code: "formats/invalid" });
    },
  );

  it("can live anywhere that opens files by name", async () => {
    const bytes = await encodeSafetensors({ x: vector(1, 2) });
    const files = new Map([
      ["s.safetensors", bytes],
      [INDEX, new TextEncoder().encode('{"weight_map":{"x":"s.safetensors"}}')],
    ]);
    const file = await openCheckpoint(async (name) =>
      files.has(name) ? memorySource(files.get(name)!, name) : undefined,
    );
    expect(await file.readFloat32("x")).toEqual(new Float32Array([1, 2]));
  });

  describe("in PyTorch's format", () => {
    const torchFile = (name: string): string =>
      fileURLToPath(new URL(`../../test/goldens/torch/${name}`, import.meta.url));
    const [first, second] = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"] as const;
    const tensors: Record<string, string> = { "0.weight": first, "0.bias": first, transposed: second, rows: second };

    it("one file, where there are no safetensors", async () => {
      await copyFile(torchFile("module.pt"), join(folder, "pytorch_model.bin"));
      expect((await openCheckpoint(folder)).names).toEqual(["0.weight", "0.bias", "1.weight", "1.bias"]);
      await writeCheckpoint(folder, { x: vector(1) });
      expect((await openCheckpoint(folder)).names).toEqual(["x"]);
    });

    it("shards of an index", async () => {
      await copyFile(torchFile("module.pt"), join(folder, first));
      await copyFile(torchFile("views.pt"), join(folder, second));
      await writeFile(join(folder, "pytorch_model.bin.index.json"), JSON.stringify({ weight_map: tensors }));
      const file = await openCheckpoint(folder);
      expect(file.names).toEqual(Object.keys(tensors));
      expect(file.info("transposed").shape).toEqual([6, 4]);
      expect((await file.readManyFloat32(["0.bias", "rows"])).get("rows")).toHaveLength(12);
      await file.close();
    });

    it("an index does not lead to files of the other format", async () => {
      const index = JSON.stringify({ weight_map: { x: "model.safetensors.bak" } });
      await writeFile(join(folder, "pytorch_model.bin.index.json"), index);
      await expect(openCheckpoint(folder)).rejects.toThrow(/not a file of weights beside the index/);
    });
  });

  it("opens only the shards with tensors that are needed", async () => {
    await writeSafetensors(join(folder, "a.safetensors"), { x: vector(1), y: vector(2) });
    await index({ x: "a.safetensors", y: "a.safetensors", z: "missing.safetensors" });
    const needs = (name: string): boolean => name === "x";
    const file = await openCheckpoint(folder, { needs });
    expect(file.names).toEqual(["x", "y"]);
    await file.close();
    const names = [INDEX, "a.safetensors", "missing.safetensors", "pytorch_model.bin", "config.json"];
    const open: OpenFile = async (name) => fileSource(join(folder, name));
    expect(await checkpointFiles(names, open, { needs })).toEqual([INDEX, "a.safetensors"]);
    expect(await checkpointFiles(names, open)).toEqual([INDEX, "a.safetensors", "missing.safetensors"]);
    expect(await checkpointFiles(["config.json", "pytorch_model.bin"], open)).toEqual(["pytorch_model.bin"]);
    expect(await checkpointFiles(["config.json", "model.gguf"], open)).toEqual([]);
  });
});
