import { mkdtemp, open, readFile, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dtypes, type DType } from "../../graph/dtype.ts";
import { writeFileAtomic } from "../disk/atomicFile.ts";
import { memorySource } from "../byteSource.ts";
import { arrayOver } from "../encoding.ts";
import { fileSource } from "../disk/fileSource.ts";
import { openSafetensors } from "./safetensors.ts";
import { encodeSafetensors, writeSafetensors, type TensorData } from "./writer.ts";

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "safetensors-"))));
afterAll(() => rm(folder, { recursive: true }));

const vector = (...values: number[]): TensorData => ({
  dtype: "float32",
  shape: [values.length],
  data: new Float32Array(values),
});

describe("writing safetensors", () => {
  it("gives back every dtype, name and bit", async () => {
    const tensor = fc
      .tuple(
        fc.constantFrom(...(Object.keys(dtypes) as DType[])),
        fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
      )
      .chain(([dtype, shape]) => {
        const length = shape.reduce((a, b) => a * b, 1) * dtypes[dtype].bytes;
        return fc
          .uint8Array({ minLength: length, maxLength: length })
          .map((bytes): TensorData => ({ dtype, shape, data: arrayOver(dtype, bytes.slice().buffer) }));
      });
    const name = fc.string({ unit: "grapheme" }).filter((name) => name !== "__metadata__");
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(name, tensor)).map((entries) => new Map(entries)),
        fc.dictionary(fc.string(), fc.string()),
        async (tensors, metadata) => {
          const bytes = await encodeSafetensors(tensors, metadata);
          expect(new DataView(bytes.buffer).getUint32(0, true) % 8).toBe(0);
          const file = await openSafetensors(memorySource(bytes));
          expect(new Map(file.metadata)).toEqual(new Map(Object.entries(metadata)));
          expect(new Set(file.names)).toEqual(new Set(tensors.keys()));
          for (const [key, { dtype, shape, data }] of tensors) {
            expect(file.info(key)).toMatchObject({ dtype, shape });
            expect(await file.read(key)).toEqual(data);
          }
        },
      ),
    );
  });

  it("does not depend on the order of tensors and metadata, and sorts names like 10", async () => {
    const a = await encodeSafetensors({ x: vector(1), w: vector(2), 10: vector(3) }, { b: "1", a: "2" });
    const b = await encodeSafetensors({ 10: vector(3), w: vector(2), x: vector(1) }, { a: "2", b: "1" });
    expect(a).toEqual(b);
    expect((await openSafetensors(memorySource(a))).names).toEqual(["10", "w", "x"]);
  });

  it("calls for data one tensor at a time, views of larger buffers too", async () => {
    const calls: string[] = [];
    const lazy = (name: string): TensorData => ({
      dtype: "float32",
      shape: [2],
      data: async () => (calls.push(name), new Float32Array([0, 1, 2, 3]).subarray(1, 3)),
    });
    await writeSafetensors(join(folder, "lazy"), { b: lazy("b"), a: lazy("a") });
    expect(calls).toEqual(["a", "b"]);
    const file = await openSafetensors(await fileSource(join(folder, "lazy")));
    expect(await file.read("b")).toEqual(new Float32Array([1, 2]));
    await file.close();
  });

  it.each<[string, RegExp, Record<string, TensorData>]>([
    ["a wrong length", /tensor "a".*of 3 elements.*got Float32Array of 2/, { a: { ...vector(1, 2), shape: [3] } }],
    ["a wrong array", /Float32Array of 2.*got Int32Array/, { a: { ...vector(1, 2), data: new Int32Array(2) } }],
    ["the reserved name", /__metadata__/, { __metadata__: vector(1) }],
  ])("refuses %s and leaves the old file", async (_, message, tensors) => {
    const path = join(folder, "kept");
    await writeFile(path, "old");
    await expect(writeSafetensors(path, tensors)).rejects.toThrow(message);
    expect(await readFile(path, "utf8")).toBe("old");
    expect((await readdir(folder)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("names the folder that is missing", async () => {
    await expect(writeFileAtomic(join(folder, "no", "x"), [])).rejects.toMatchObject({ code: "formats/not-found" });
  });
});

it("reads a tensor behind 4 GiB of others", async () => {
  const path = join(folder, "large.safetensors");
  const big = 4 * 2 ** 30 + 8;
  const header = JSON.stringify({
    big: { dtype: "U8", shape: [big], data_offsets: [0, big] },
    last: { dtype: "F32", shape: [2], data_offsets: [big, big + 8] },
  });
  const start = new Uint8Array(8 + header.length);
  new DataView(start.buffer).setBigUint64(0, BigInt(header.length), true);
  start.set(new TextEncoder().encode(header), 8);
  await writeFile(path, start);
  await truncate(path, start.length + big + 8);
  const handle = await open(path, "r+");
  await handle.write(new Uint8Array(new Float32Array([1.5, -2]).buffer), 0, 8, start.length + big);
  await handle.close();
  const file = await openSafetensors(await fileSource(path));
  expect(file.info("big").byteLength).toBe(big);
  expect(await file.read("last")).toEqual(new Float32Array([1.5, -2]));
  expect([...(await file.readManyFloat32(["last"])).get("last")!]).toEqual([1.5, -2]);
  await file.close();
});
