import { describe, expect, it } from "vitest";
import { GgufBytes } from "../../../test/support/ggufBytes.ts";
import { byteSource, memorySource } from "../byteSource.ts";
import { openGguf } from "./gguf.ts";

const gguf = () => new GgufBytes();
const open = (bytes: GgufBytes) => openGguf(memorySource(bytes.done(), "x.gguf"));

describe("openGguf", () => {
  it("reads tensors outermost dimension first, in file order, from aligned data", async () => {
    const file = await open(
      gguf().start(2, 0).tensor("second", [2], 24, 32).tensor("first", [3, 2], 24, 0).data(6).data(2),
    );
    expect(file.names).toEqual(["first", "second"]);
    expect(file.info("first")).toEqual({ name: "first", type: "I8", dtype: "int8", shape: [2, 3], byteLength: 6 });
    expect(await file.read("first")).toEqual(new Int8Array([0, 1, 2, 3, 4, 5]));
    expect(await file.readFloat32("second")).toEqual(new Float32Array([0, 1]));
  });

  it("decodes quantised tensors whether asked for stored values or float32", async () => {
    const file = await open(gguf().start(1, 0).tensor("q", [32, 1], 8, 0).data(34));
    const expected = Float32Array.from({ length: 32 }, (_, i) => 2 ** -24 * 256 * (i + 2)); // scale bits 0x0100
    expect(file.info("q")).toMatchObject({ type: "Q8_0", dtype: "float32", byteLength: 34, shape: [1, 32] });
    expect(await file.read("q")).toEqual(expected);
    expect((await file.readMany()).get("q")).toEqual(expected);
  });

  it("takes another alignment, version 2 and nested arrays", async () => {
    const file = await open(
      gguf()
        .start(1, 2, 2)
        .string("general.alignment").u32(4, 8)
        .string("nested").u32(9, 9).u64(2).u32(0).u64(2).u8(1, 2).u32(8).u64(1).string("é")
        .tensor("t", [1], 0, 8)
        .data(12, 8),
    ); // prettier-ignore
    expect(file.metadata.get("nested")).toEqual([new Uint8Array([1, 2]), ["é"]]);
    expect(await file.read("t")).toHaveLength(1);
  });

  it("gives 64-bit integers as numbers where they are exact", async () => {
    const file = await open(
      gguf()
        .start(0, 3)
        .string("a")
        .u32(10)
        .u64(2n ** 53n - 1n)
        .string("b")
        .u32(10)
        .u64(2n ** 53n)
        .string("c")
        .u32(11)
        .u64(2n ** 64n - 1n),
    );
    expect([...file.metadata.values()]).toEqual([2 ** 53 - 1, 2n ** 53n, -1]);
  });

  it("lists a type that is not supported, and says so when asked for it", async () => {
    const file = await open(gguf().start(1, 0).tensor("t", [32], 99, 0).data(4));
    expect(file.names).toEqual(["t"]);
    expect(() => file.info("t")).toThrow(/tensor "t".*type 99/);
  });

  it("reads on where the header is longer than the first read", async () => {
    const count = 2 ** 20;
    const start = gguf().start(1, 2).string("big").u32(9, 8).u64(count).done();
    const rest = gguf().string("last").u32(4, 7).tensor("t", [2], 24, 0).done();
    const end = start.length + 12 * count + rest.length;
    const bytes = new Uint8Array(Math.ceil(end / 32) * 32 + 2);
    bytes.set(start);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < count; i++) {
      const at = start.length + 12 * i;
      view.setUint32(at, 4, true);
      view.setUint32(at + 8, 0x30303030 + (i % 10));
    }
    bytes.set(rest, start.length + 12 * count);
    bytes[bytes.length - 1] = 5;
    const file = await openGguf(memorySource(bytes));
    expect(file.metadata.get("big")).toHaveLength(count);
    expect((file.metadata.get("big") as string[])[count - 1]).toBe("0005");
    expect(file.metadata.get("last")).toBe(7);
    expect(await file.read("t")).toEqual(new Int8Array([0, 5]));
  });

  const key = (type: number) => gguf().start(0, 1).string("k").u32(type);
  it.each<[string, RegExp, GgufBytes]>([
    ["an empty file", /ends within the magic number/, gguf()],
    [
      "another format",
      /not a GGUF file/,
      gguf()
        .u8(...new TextEncoder().encode("GGML"))
        .u32(3)
        .u64(0, 0),
    ],
    ["version 1", /version is not supported/, gguf().start(0, 0, 1)],
    ["big-endian", /Big-endian/, gguf().start(0, 0, 0x03000000)],
    ["2^60 tensors", /is impossible|ends within the tensor table/, gguf().start(2n ** 60n, 0)],
    [
      "more tensors than bytes",
      /ends within the tensor table.*240000000000 more bytes; got 0/,
      gguf().start(10n ** 10n, 0),
    ],
    ["more metadata than bytes", /ends within the metadata/, gguf().start(0, 10n ** 10n)],
    [
      "an endless key",
      /ends within a metadata key/,
      gguf()
        .start(0, 1)
        .u64(10n ** 12n)
        .u64(0, 0),
    ],
    ["an endless string", /ends within metadata "k"/, key(8).u64(10n ** 15n)],
    [
      "an endless array",
      /ends within metadata "k".*4000000000000/,
      key(9)
        .u32(6)
        .u64(10n ** 12n),
    ],
    [
      "an endless array of strings",
      /ends within metadata "k"/,
      key(9)
        .u32(8)
        .u64(2n ** 52n),
    ],
    [
      "an array of 2^63",
      /impossible/,
      key(9)
        .u32(0)
        .u64(2n ** 63n),
    ],
    ["an unknown type", /unknown metadata type/, key(13).u64(0)],
    ["an unknown element type", /unknown metadata type/, key(9).u32(77).u64(0)],
    ["a boolean of 2", /not a boolean/, key(7).u8(2)],
    ["text that is not UTF-8", /not valid UTF-8/, key(8).u64(2).u8(0xc3, 0x28)],
    [
      "arrays nested deeply",
      /nests too deeply/,
      key(9).u32(9).u64(1).u32(9).u64(1).u32(9).u64(1).u32(9).u64(1).u32(0).u64(0),
    ],
    ["one key twice", /"k" occurs twice/, gguf().start(0, 2).string("k").u32(4, 1).string("k").u32(4, 1)],
    [
      "an alignment that is no power of two",
      /alignment.*power of two.*"24"/,
      gguf().start(0, 1).string("general.alignment").u32(4, 24),
    ],
    ["an alignment of zero", /alignment/, gguf().start(0, 1).string("general.alignment").u32(4, 0)],
    ["an alignment that is text", /alignment/, gguf().start(0, 1).string("general.alignment").u32(8).string("32")],
    ["one part of a split model", /split over several.*--merge/, gguf().start(0, 1).string("split.count").u32(4, 3)],
    ["nine dimensions", /too many dimensions/, gguf().start(1, 0).tensor("t", Array<number>(9).fill(1), 0, 0).data(4)],
    [
      "2^32 - 1 dimensions",
      /too many dimensions/,
      gguf()
        .start(1, 0)
        .string("t")
        .u32(2 ** 32 - 1)
        .u64(0, 0),
    ],
    [
      "a dimension of 2^64 - 1",
      /impossible/,
      gguf()
        .start(1, 0)
        .tensor("t", [2n ** 64n - 1n], 0, 0)
        .data(4),
    ],
    [
      "dimensions that overflow",
      /ends within a tensor/,
      gguf()
        .start(1, 0)
        .tensor("t", Array<bigint>(8).fill(2n ** 50n), 0, 0)
        .data(4),
    ],
    [
      "a row of half a block",
      /no whole blocks.*multiple of 32.*\[2, 48\]/,
      gguf().start(1, 0).tensor("t", [48, 2], 2, 0).data(54),
    ],
    [
      "an offset that is not aligned",
      /not aligned.*multiple of 32; got 4/,
      gguf().start(1, 0).tensor("t", [1], 0, 4).data(8),
    ],
    [
      "a truncated tensor",
      /ends within a tensor.*8 bytes of F32 \[2\].*download/,
      gguf().start(1, 0).tensor("t", [2], 0, 0).data(7),
    ],
    [
      "an offset beyond the file",
      /ends within a tensor/,
      gguf()
        .start(1, 0)
        .tensor("t", [2], 0, 2n ** 52n)
        .data(8),
    ],
    [
      "tensors that overlap",
      /overlap.*"b"/,
      gguf().start(2, 0).tensor("a", [9], 0, 0).tensor("b", [1], 0, 32).data(36),
    ],
    ["one name twice", /"a" occurs twice/, gguf().start(2, 0).tensor("a", [1], 0, 0).tensor("a", [1], 0, 32).data(36)],
  ])("refuses %s", async (_, message, bytes) => {
    await expect(open(bytes)).rejects.toMatchObject({
      name: "FormatError",
      message: expect.stringMatching(message) as string,
    });
  });

  it("stops at a header above the limit, however large the file", async () => {
    let read = 0;
    const start = gguf()
      .start(0, 1)
      .string("k")
      .u32(9, 0)
      .u64(2n ** 35n)
      .done();
    const source = byteSource({
      name: "big",
      byteLength: 2 ** 40,
      fill: async (target, position) => {
        read += target.byteLength;
        if (position === 0) target.set(start);
      },
    });
    await expect(openGguf(source)).rejects.toThrow(/header is too long.*268435456/);
    expect(read).toBe(2 ** 23);
  });
});
