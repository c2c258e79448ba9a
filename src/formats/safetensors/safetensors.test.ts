import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byteSource, memorySource, type ByteSource } from "../byteSource.ts";
import { openSafetensors } from "./safetensors.ts";

/** A file of a header (text or bytes) and `data` zero bytes. */
function file(header: string | Uint8Array, data = 0, length?: bigint): ByteSource {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + data);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return memorySource(bytes, "x.safetensors");
}
const entry = (dtype: string, shape: unknown, offsets: unknown) => ({ dtype, shape, data_offsets: offsets });
const json = (value: unknown) => JSON.stringify(value);

describe("openSafetensors", () => {
  it("lists tensors in file order with metadata; scalars, empty tensors and an empty file", async () => {
    const header = {
      b: entry("I64", [], [4, 12]),
      __metadata__: { format: "pt" },
      a: entry("F32", [1, 1], [0, 4]),
      none: entry("F16", [3, 0], [12, 12]),
    };
    const tensors = await openSafetensors(file(json(header) + "   ", 12));
    expect(tensors.names).toEqual(["a", "b", "none"]);
    expect([...tensors.metadata]).toEqual([["format", "pt"]]);
    expect(tensors.info("b")).toEqual({ name: "b", type: "I64", dtype: "int64", shape: [], byteLength: 8 });
    expect(await tensors.read("b")).toEqual(new BigInt64Array(1));
    expect(await tensors.read("none")).toEqual(new Uint16Array(0));
    expect((await openSafetensors(file("{}"))).names).toEqual([]);
  });

  it("lists a type that is not supported, and says so when asked for it", async () => {
    const header = { a: entry("F8_E4M3", [4], [0, 4]), b: entry("U8", [2], [4, 6]) };
    const tensors = await openSafetensors(file(json(header), 6));
    expect(tensors.has("a")).toBe(true);
    expect(await tensors.read("b")).toEqual(new Uint8Array(2));
    expect(() => tensors.info("a")).toThrow(/storage type.*x\.safetensors, tensor "a".*F8_E4M3/);
    await expect(tensors.readMany()).rejects.toMatchObject({ code: "formats/unsupported" });
  });

  it("names the tensors there are when one is not", async () => {
    const tensors = await openSafetensors(file(json({ wte: entry("U8", [1], [0, 1]) }), 1));
    expect(() => tensors.info("wpe")).toThrow(/no tensor "wpe".*1 tensors: "wte"/);
    await expect(tensors.readFloat32("__proto__")).rejects.toMatchObject({ code: "formats/unknown-tensor" });
  });

  it("keeps names like __proto__ and constructor as names", async () => {
    const header = `{"__proto__":${json(entry("U8", [1], [0, 1]))},"constructor":${json(entry("U8", [2], [1, 3]))}}`;
    const tensors = await openSafetensors(file(header, 3));
    expect(tensors.names).toEqual(["__proto__", "constructor"]);
    expect(await tensors.read("constructor")).toEqual(new Uint8Array(2));
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
  });

  const one = (dtype: string, shape: unknown, offsets: unknown) => json({ t: entry(dtype, shape, offsets) });
  it.each<[string, RegExp, ByteSource]>([
    ["a file of 4 bytes", /too short.*at least 10 bytes; got 4 bytes/, memorySource(new Uint8Array(4))],
    ["a header longer than the file", /impossible length.*at most 2 bytes; got 3 bytes/, file("{}", 0, 3n)],
    ["a header of 2^64 - 1 bytes", /impossible length.*18446744073709551615/, file("{}", 0, 2n ** 64n - 1n)],
    ["a header that is not UTF-8", /UTF-8/, file(new Uint8Array([0x7b, 0xff, 0x7d]))],
    ["a header that is not JSON", /not valid JSON/, file("{]")],
    ["a header that begins with white space", /not a JSON object/, file(" {}")],
    ["an array for a header", /not a JSON object/, file("[]")],
    ["a key that occurs twice", /occurs twice/, file('{"a":{"a":1},"\\u0061":{}}')],
    ["metadata that is no object", /metadata is not an object/, file('{"__metadata__":[]}')],
    ["metadata that is no string", /value of "k" is not a string/, file('{"__metadata__":{"k":1}}')],
    ["an entry that is no object", /tensor "t".*an object; got null/, file('{"t":null}')],
    ["an entry with another key", /unknown keys/, file(json({ t: { ...entry("U8", [0], [0, 0]), more: 1 } }))],
    ["no dtype", /dtype is not a string/, file('{"t":{"shape":[],"data_offsets":[0,1]}}', 1)],
    ["a negative size", /shape is not/, file(one("U8", [-1], [0, 1]), 1)],
    ["a broken size", /shape is not/, file(one("U8", [1.5], [0, 1]), 1)],
    ["a size beyond 2^53", /shape is not/, file(one("U8", [2 ** 53], [0, 1]), 1)],
    ["a shape that is no list", /shape is not/, file(one("U8", "2", [0, 2]), 2)],
    ["offsets backwards", /not a range/, file(one("U8", [1], [1, 0]), 1)],
    ["three offsets", /not a range/, file(one("U8", [1], [0, 1, 2]), 1)],
    ["a shape that does not fit", /\[2,3\] of F32.*24 bytes; got 20/, file(one("F32", [2, 3], [0, 20]), 20)],
    ["a shape that overflows", /does not fit/, file(one("F32", [2 ** 52, 2 ** 52, 2 ** 52], [0, 4]), 4)],
    [
      "a shape of infinitely many times nothing",
      /does not fit/,
      file(one("U8", [...Array<number>(40).fill(2 ** 52), 0], [0, 0])),
    ],
    ["a truncated file", /truncated.*113 bytes; got 112 bytes.*download/, file(one("U8", [50], [0, 50]), 49)],
    ["bytes after the last tensor", /bytes of no tensor/, file(one("U8", [1], [0, 1]), 2)],
    ["a hole at the start", /hole.*offset 0; got 1/, file(one("U8", [1], [1, 2]), 2)],
    [
      "a hole between tensors",
      /hole.*"b"/,
      file(json({ a: entry("U8", [1], [0, 1]), b: entry("U8", [1], [2, 3]) }), 3),
    ],
    ["tensors that overlap", /overlap/, file(json({ a: entry("U8", [2], [0, 2]), b: entry("U8", [2], [1, 3]) }), 3)],
    ["one tensor twice", /overlap/, file(json({ a: entry("U8", [2], [0, 2]), b: entry("U8", [2], [0, 2]) }), 2)],
  ])("refuses %s", async (_, message, source) => {
    await expect(openSafetensors(source)).rejects.toMatchObject({
      name: "FormatError",
      message: expect.stringMatching(message) as string,
    });
    await expect(source.slice(0, 0)).rejects.toThrow(/closed/);
  });

  it("reads nothing of a header above the limit, whatever the file's size", async () => {
    let bytes = 0;
    const source = byteSource({
      name: "big",
      byteLength: 2 ** 40,
      async fill(target) {
        bytes += target.byteLength;
        new DataView(target.buffer).setBigUint64(0, 100_000_001n, true);
      },
    });
    await expect(openSafetensors(source)).rejects.toThrow(/at most 100000000 bytes; got 100000001 bytes/);
    expect(bytes).toBe(8);
  });

  it("escapes control characters of names in messages", async () => {
    const source = file(json({ "\u001b[2Jx": entry("U8", [2], [0, 1]) }), 1);
    await expect(openSafetensors(source)).rejects.toThrow(/tensor "\\u001b\[2Jx"/);
  });
});

describe("reading many tensors", () => {
  it("equals reading one by one, in fewer reads, whatever the sizes and the order asked for", async () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constantFrom(2 ** 21, 2 ** 22)), {
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(sizes, fc.infiniteStream(fc.nat()), async (lengths, keys) => {
        let start = 0;
        const header: Record<string, unknown> = {};
        for (const [i, length] of lengths.entries()) {
          header[`t${i}`] = entry("BF16", [length], [start, start + 2 * length]);
          start += 2 * length;
        }
        const source = file(json(header), start);
        const bytes = new Uint8Array(await source.slice(0));
        for (let i = bytes.length - start; i < bytes.length; i += 2) bytes[i] = i >> 3;
        const tensors = await openSafetensors(memorySource(bytes));
        const wanted = tensors.names
          .map((name) => ({ name, key: Number(keys.next().value) }))
          .toSorted((a, b) => a.key - b.key);
        const names = wanted.map(({ name }) => name);
        const [stored, floats] = [await tensors.readMany(names), await tensors.readManyFloat32(names)];
        expect([...stored.keys()]).toEqual(names);
        for (const name of names) {
          expect(Buffer.compare(asBytes(stored.get(name)!), asBytes(await tensors.read(name)))).toBe(0);
          expect(Buffer.compare(asBytes(floats.get(name)!), asBytes(await tensors.readFloat32(name)))).toBe(0);
        }
      }),
      { numRuns: 10 },
    );
  });

  it("reads an empty tensor and another that begins at the same place, in either order", async () => {
    const header = { empty: entry("U8", [0], [0, 0]), full: entry("U8", [2], [0, 2]) };
    const tensors = await openSafetensors(file(json(header), 2));
    for (const names of [
      ["empty", "full"],
      ["full", "empty"],
    ]) {
      const read = await tensors.readMany(names);
      expect([read.get("empty")!.length, read.get("full")!.length]).toEqual([0, 2]);
    }
  });

  it("reads small neighbours together, large ones alone", async () => {
    const header: Record<string, unknown> = {};
    for (let i = 0; i < 100; i++) header[`small${i}`] = entry("F32", [10], [40 * i, 40 * i + 40]);
    header.large = entry("U8", [2 ** 24], [4000, 4000 + 2 ** 24]);
    const memory = file(json(header), 4000 + 2 ** 24);
    let reads = 0;
    const counting: ByteSource = {
      ...memory,
      slice: (...range) => (reads++, memory.slice(...range)),
      readInto: (...range) => (reads++, memory.readInto(...range)),
    };
    const tensors = await openSafetensors(counting);
    reads = 0;
    expect((await tensors.readMany()).size).toBe(101);
    expect(reads).toBe(2);
  });
});

const asBytes = (data: ArrayBufferView) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
