import { describe, expect, it } from "vitest";
import { memorySource, type ByteSource } from "../byteSource.ts";
import { readNpy } from "./npy.ts";

/** An array file of a header text and data bytes. */
function npy(header: string, data: number, version = 1, length = header.length): ByteSource {
  const bytes = new Uint8Array(10 + header.length + data);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  new DataView(bytes.buffer).setUint16(8, length, true);
  bytes.set(new TextEncoder().encode(header), 10);
  return memorySource(bytes, "x.npy");
}
const dict = (descr: string, shape: string, fortran = "False") =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }\n`;

describe("readNpy", () => {
  it.each([
    ["(2, 3)", [2, 3]],
    ["(6,)", [6]],
    ["(1,6)", [1, 6]],
  ])("takes the shape %s", async (text, shape) => {
    expect(await readNpy(npy(dict("<i2", text), 12))).toEqual({ dtype: "int16", shape, data: new Int16Array(6) });
  });

  it("takes the keys in any order", async () => {
    const array = await readNpy(npy("{'shape': (), 'descr': '|u1', 'fortran_order': True}", 1));
    expect(array).toEqual({ dtype: "uint8", shape: [], data: new Uint8Array(1) });
  });

  it.each<[string, RegExp, ByteSource]>([
    ["an empty file", /not a NumPy array/, memorySource(new Uint8Array(0))],
    ["another file", /not a NumPy array/, memorySource(new Uint8Array(100))],
    ["version 4", /version.*got 4/, npy(dict("<f4", "()"), 4, 4)],
    ["a header longer than the file", /impossible length.*got 60000 bytes/, npy("", 8, 1, 60000)],
    ["a header above the limit", /impossible length/, npy("\u0001\u0001".padEnd(70000), 8, 2, 0)],
    ["no dictionary", /not as NumPy writes it/, npy("[]", 4)],
    ["code", /not as NumPy writes it/, npy("{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}", 4)],
    ["a missing key", /not as NumPy writes it/, npy("{'descr': '<f4', 'shape': ()}", 4)],
    ["a key twice", /not as NumPy/, npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4)],
    ["a key more", /not as NumPy/, npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), '__proto__': ()}", 4)],
    ["a negative size", /not as NumPy writes it/, npy(dict("<f4", "(-1,)"), 4)],
    ["a size beyond 2^53", /not as NumPy writes it/, npy(dict("<f4", "(9007199254740993,)"), 4)],
    ["an empty size", /not as NumPy writes it/, npy(dict("<f4", "(1,,1)"), 4)],
    ["pickled objects", /pickled/, npy(dict("|O", "(1,)"), 8)],
    ["strings", /not supported.*<U3/, npy(dict("<U3", "()"), 12)],
    ["no type", /not supported/, npy(dict("", "()"), 0)],
    ["too little data", /length of its shape.*24 bytes.*got 23/, npy(dict("<f4", "(2, 3)"), 23)],
    ["too much data", /length of its shape/, npy(dict("<f4", "(2, 3)"), 25)],
    ["a shape that overflows", /length of its shape/, npy(dict("<f4", "(4503599627370496, 4503599627370496)"), 8)],
  ])("refuses %s", async (_, message, source) => {
    await expect(readNpy(source)).rejects.toMatchObject({
      name: "FormatError",
      message: expect.stringMatching(message) as string,
    });
  });
});
