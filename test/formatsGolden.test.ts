/** @file Weights as the reference implementations of their formats write and decode them. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import {
  encodeSafetensors,
  fileSource,
  memorySource,
  openCheckpoint,
  openGguf,
  openNpz,
  openSafetensors,
  readNpy,
  type GgufValue,
  type TensorData,
} from "../src/formats/index.ts";
import { describeWithShared, readJson, shared } from "./support/shared.ts";

const golden = (path: string) => fileURLToPath(new URL(`goldens/${path}`, import.meta.url));
const sha256 = (data: Float32Array) => createHash("sha256").update(data).digest("hex");
const bits = (data: Float32Array) => new Uint32Array(data.buffer, data.byteOffset, data.length);

describe("GGUF as gguf-py and ggml read it", () => {
  interface Types {
    shape: number[];
    tensors: Record<string, { bytes: number; sha256: string }>;
    metadata: Record<string, { type: string; value: string | number | boolean | unknown[] }>;
  }
  const expected = readJson<Types>(golden("gguf/types.json"));
  const open = async () => openGguf(await fileSource(golden("gguf/types.gguf")));

  it.each(Object.entries(expected.tensors))("decodes %s bit for bit", async (name, { bytes, sha256: digest }) => {
    const [file, values] = [await open(), await openSafetensors(await fileSource(golden("gguf/types.safetensors")))];
    expect(file.info(name)).toMatchObject({ type: name, shape: expected.shape, byteLength: bytes });
    const data = await file.readFloat32(name);
    expect(bits(data)).toEqual(bits(await values.readFloat32(name)));
    expect(sha256(data)).toBe(digest);
    await Promise.all([file.close(), values.close()]);
  });

  it("has every tensor of the file in the list of expectations, and reads them together", async () => {
    const file = await open();
    expect(file.names.toSorted()).toEqual(Object.keys(expected.tensors).toSorted());
    const together = await file.readManyFloat32();
    for (const name of file.names) expect(bits(together.get(name)!)).toEqual(bits(await file.readFloat32(name)));
    await file.close();
  });

  it("gives metadata of every type", async () => {
    const file = await open();
    const plain = (value: GgufValue) =>
      typeof value === "bigint" ? String(value) : typeof value === "object" ? Array.from<unknown>(value) : value;
    for (const [key, { value }] of Object.entries(expected.metadata))
      expect([key, plain(file.metadata.get(key)!)]).toEqual([key, value]);
    expect(file.metadata.get("general.alignment")).toBe(64);
    await file.close();
  });
});

/** Read everything and write it again, in another order; the bytes must come out the same. */
async function expectSameBytes(path: string): Promise<void> {
  const file = await openSafetensors(await fileSource(path));
  const tensors = new Map<string, TensorData>();
  for (const name of file.names.toReversed()) tensors.set(name, { ...file.info(name), data: await file.read(name) });
  const bytes = await encodeSafetensors(tensors, Object.fromEntries(file.metadata));
  expect(Buffer.compare(bytes, await readFile(path))).toBe(0);
  await file.close();
}

describe("safetensors as the reference implementation writes them", () => {
  it.each(["safetensors/types.safetensors", "gguf/types.safetensors"])("%s is reproduced byte for byte", (path) =>
    expectSameBytes(golden(path)),
  );
});

const written = [
  "goldens/families/gpt2/model.safetensors",
  "goldens/families/llama-gqa/golden.safetensors",
  "goldens/sae-training/batchtopk/golden.safetensors",
  "models/smollm2-135m-instruct/sae-hook_z-20/sae_weights.safetensors",
];
describeWithShared("safetensors of Python libraries", written, () => {
  it.each(written)("%s is reproduced byte for byte", (path) => expectSameBytes(shared(path)));
});

describe("NumPy arrays as NumPy writes them", () => {
  const expected = readJson<Record<string, string[]>>(golden("numpy/arrays.json"));
  const dtypes: Record<string, string> = {
    "?": "bool", i1: "int8", u1: "uint8", i2: "int16", u2: "int32", i4: "int32", u4: "int64", i8: "int64", u8: "int64",
    f2: "float16", f4: "float32", f8: "float64",
  }; // prettier-ignore
  const half = (bits: number) => {
    const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    if (exponent === 31) return sign * Infinity;
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
  };

  describe.each(["arrays.npz", "deflated.npz"])("in %s", (archive) => {
    const open = async () => openNpz(await fileSource(golden(`numpy/${archive}`)));

    it.each(
      Object.keys(expected).flatMap((type) => ["little", "big", "fortran"].map((order) => [type, order] as const)),
    )("%s, %s", async (type, order) => {
      const file = await open();
      const name = `${type}.${order}`;
      expect(file.info(name)).toMatchObject({ dtype: dtypes[type], shape: [2, 3, 4] });
      const parse = (text: string) => (text === "inf" ? Infinity : Number(text));
      const values = expected[type]!;
      const data = Array.from<number | bigint, number | bigint>(await file.read(name), (x) =>
        type === "f2" ? half(Number(x)) : x,
      );
      if (type.startsWith("f") || type === "?") expect(data).toEqual(values.map(parse));
      else expect(data.map(String)).toEqual(values);
      expect([...(await file.readFloat32(name))]).toEqual(
        values.map((x) =>
          type.endsWith("8") && type !== "f8" ? Math.fround(Number(BigInt(x))) : Math.fround(parse(x)),
        ),
      );
      await file.close();
    });

    it("scalars, empty arrays and Fortran order of two axes", async () => {
      const file = await open();
      expect(file.names).toHaveLength(12 * 3 + 4);
      expect(file.info("scalar").shape).toEqual([]);
      expect(await file.read("scalar")).toEqual(new Float32Array([1.5]));
      expect([file.info("empty").shape, await file.read("empty")]).toEqual([[0, 5], new Int32Array(0)]);
      expect(file.info("vector").shape).toEqual([5]);
      expect((await file.readMany(["column.fortran"])).get("column.fortran")).toEqual(
        Int32Array.from({ length: 12 }, (_, i) => i),
      );
      await file.close();
    });
  });

  it("every half-precision number becomes the float32 that NumPy makes of it", async () => {
    const file = await openNpz(await fileSource(golden("numpy/half.npz")));
    const single = (await file.read("single")) as Float32Array;
    expect(single).toHaveLength(65536 - 2 * 1023);
    expect(sha256(await file.readFloat32("half"))).toBe(sha256(single));
    await file.close();
  });

  it.each([2, 3])("header version %i", async (version) => {
    const array = await readNpy(await fileSource(golden(`numpy/version${version}.npy`)));
    expect(array).toEqual({ dtype: "float64", shape: [2, 3], data: new Float64Array([0, 1, 2, 3, 4, 5]) });
  });

  it.each([
    ["objects", /not supported.*pickled Python objects/],
    ["records", /not supported/],
    ["complex", /not supported.*<c8/],
    ["large_uint64", /unsigned number is too large/],
  ])("refuses %s", async (name, message) => {
    const bytes = await readFile(golden(`numpy/${name}.npy`));
    await expect(readNpy(memorySource(bytes))).rejects.toMatchObject({
      code: "formats/unsupported",
      message: expect.stringMatching(message) as string,
    });
  });
});

const smol = "models/smollm2-135m-instruct";
describeWithShared("SmolLM2 as GGUF", [smol], () => {
  it("has the dequantised values, shapes and vocabulary of its golden", async () => {
    interface Golden {
      dequantised: { name: string; type: string; ne: number[]; sha256: string; first256: number[] }[];
    }
    const { dequantised } = readJson<Golden>(shared(`${smol}/golden.json`));
    const file = await openGguf(await fileSource(shared(`${smol}/SmolLM2-135M-Instruct.Q4_1.gguf`)));
    for (const { name, type, ne, sha256: expected, first256 } of dequantised) {
      expect(file.info(name)).toMatchObject({ name, type, shape: ne.toReversed() });
      const data = await file.readFloat32(name);
      expect(sha256(data)).toBe(expected);
      expect(data.subarray(0, 256)).toBeAllClose(first256, 1e-8);
    }
    expect(dequantised).toHaveLength(7);
    expect(file.metadata.get("llama.embedding_length")).toBe(576);
    expect(file.metadata.get("tokenizer.ggml.tokens")).toHaveLength(49152);
    expect(file.names).toHaveLength(272);
    await file.close();
  });
});

const scope = (kind: string) => `goldens/saes/foreign/npz-${kind}`;
describeWithShared("Gemma Scope params.npz", [scope("resid")], () => {
  it.each([
    ["resid", "layer_4/width_16k/average_l0_20"],
    ["mlp", "layer_11/width_65k/average_l0_9"],
    ["attn", "layer_7/width_16k/average_l0_31"],
  ])("of kind %s have the weights of their goldens", async (kind, path) => {
    const params = await openNpz(await fileSource(shared(`${scope(kind)}/source/${path}/params.npz`)));
    const golden = await openSafetensors(await fileSource(shared(`${scope(kind)}/golden.safetensors`)));
    expect(params.names).toHaveLength(5);
    for (const name of params.names) {
      const expected = golden.names.find((full) => full.toLowerCase() === `weight.${name}`.toLowerCase())!;
      expect(params.info(name).shape).toEqual(golden.info(expected).shape);
      expect(await params.read(name)).toEqual(await golden.read(expected));
    }
    await Promise.all([params.close(), golden.close()]);
  });
});

const models = ["nano-gpt-sort", "stories260K-hf", "induction-2L-attn-only"].map((name) => `models/${name}`);
describeWithShared("small models", models, () => {
  it.each(models)("%s opens as a checkpoint folder", async (path) => {
    const file = await openCheckpoint(shared(path));
    const single = await openSafetensors(await fileSource(shared(`${path}/model.safetensors`)));
    expect(file.names).toEqual(single.names);
    for (const [name, data] of await file.readManyFloat32()) expect(data).toEqual(await single.read(name));
    await Promise.all([file.close(), single.close()]);
  });
});
