import { deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { memorySource } from "../byteSource.ts";
import { openNpz } from "./npz.ts";
import { crc32 } from "../zip.ts";

interface Member {
  name: string;
  data: Uint8Array;
  method?: number;
  flags?: number;
  crc?: number;
  size?: number;
  packed?: Uint8Array;
  header?: number;
}
interface Archive {
  zip64?: boolean;
  count?: number;
  comment?: string;
}

const utf8 = (text: string) => new TextEncoder().encode(text);
const u16 = (...values: number[]) => new Uint8Array(Uint16Array.from(values).buffer);
const u32 = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer);
const u64 = (...values: number[]) => new Uint8Array(BigUint64Array.from(values.map(BigInt)).buffer);
const join = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));

/** A zip archive made by hand; any field of a member can be a lie. */
function zip(members: Member[], { zip64 = false, count = members.length, comment = "" }: Archive = {}) {
  let body = new Uint8Array(0);
  let directory = new Uint8Array(0);
  for (const { name, data, method = 0, flags = 0, ...lies } of members) {
    const packed = lies.packed ?? (method === 8 ? new Uint8Array(deflateRawSync(data)) : data);
    const [size, crc, at] = [lies.size ?? data.length, lies.crc ?? crc32(data), lies.header ?? body.length];
    const label = utf8(name);
    const extra = zip64 ? join(u16(1, 24), u64(size, packed.length, at)) : new Uint8Array(0);
    const [short, far] = zip64 ? [[0xffffffff, 0xffffffff], 0xffffffff] : [[packed.length, size], at];
    const common = join(u16(20, flags, method, 0, 0), u32(crc, ...short), u16(label.length, extra.length));
    directory = join(directory, u32(0x02014b50), u16(20), common, u16(0, 0, 0), u32(0, far), label, extra);
    body = join(body, u32(0x04034b50), common, label, extra, packed);
  }
  const end = body.length + directory.length;
  const record = zip64
    ? join(
        join(u32(0x06064b50), u64(44), u16(45, 45), u32(0, 0), u64(count, count, directory.length, body.length)),
        join(u32(0x07064b50, 0), u64(end), u32(1)),
      )
    : new Uint8Array(0);
  const short = zip64
    ? [u16(0xffff, 0xffff), u32(0xffffffff, 0xffffffff)]
    : [u16(count, count), u32(directory.length, body.length)];
  return join(body, directory, record, u32(0x06054b50), u16(0, 0), ...short, u16(comment.length), utf8(comment));
}

/** A NumPy array of two numbers, by default float32. */
function array(a: number, b: number, descr = "'<f4'"): Uint8Array {
  const header = utf8(`{'descr': ${descr}, 'fortran_order': False, 'shape': (2,), }\n`);
  const start = join(new Uint8Array([0x93]), utf8("NUMPY"), new Uint8Array([1, 0]), u16(header.length), header);
  return join(start, new Uint8Array(Float32Array.of(a, b).buffer));
}
const open = (bytes: Uint8Array) => openNpz(memorySource(bytes, "x.npz"));

describe("openNpz", () => {
  it.each<[string, Archive]>([
    ["zip", {}],
    ["zip64", { zip64: true }],
    ["zip with a comment", { comment: "made by hand PK\u0005\u0006" }],
  ])("reads stored and deflated members of a %s", async (_, archive) => {
    const file = await open(
      zip([{ name: "a.npy", data: array(1, 2) }, { name: "é/b.npy", data: array(3, 4), method: 8 }, { name: "readme", data: utf8("x") }], archive),
    ); // prettier-ignore
    expect(file.names).toEqual(["a", "é/b"]);
    expect(file.info("é/b")).toMatchObject({ dtype: "float32", type: "<f4", shape: [2] });
    expect(await file.read("a")).toEqual(new Float32Array([1, 2]));
    expect(await file.readMany()).toEqual(new Map([["a", new Float32Array([1, 2])], ["é/b", new Float32Array([3, 4])]])); // prettier-ignore
    expect(() => file.info("c")).toThrow(/no tensor "c"/);
  });

  it("lists an array that it refuses, and says why when asked for it", async () => {
    const data = array(1, 2, "'|O'");
    const file = await open(
      zip([
        { name: "o.npy", data },
        { name: "a.npy", data: array(1, 2) },
      ]),
    );
    expect(file.names).toEqual(["o", "a"]);
    await expect(file.read("o")).rejects.toThrow(/pickled/);
    expect(await file.read("a")).toEqual(new Float32Array([1, 2]));
  });

  const data = array(1, 2);
  it.each<[string, RegExp, Uint8Array]>([
    ["an empty file", /not a zip archive/, new Uint8Array(0)],
    ["a truncated archive", /not a zip archive/, zip([{ name: "a.npy", data }]).slice(0, -1)],
    ["more members than there are", /directory does not fit|damaged/, zip([{ name: "a.npy", data }], { count: 2 })],
    ["65534 members", /directory does not fit/, zip([{ name: "a.npy", data }], { count: 65534 })],
    ["encryption", /not supported.*encrypted/, zip([{ name: "a.npy", data, flags: 1 }])],
    ["another method", /not supported.*method 14/, zip([{ name: "a.npy", data, method: 14 }])],
    ["a stored member of two lengths", /size does not fit/, zip([{ name: "a.npy", data, size: 5 }])],
    ["a bomb", /size does not fit.*unpack to 4000000000/, zip([{ name: "a.npy", data, method: 8, size: 4e9 }])],
    ["a member beyond the file", /size does not fit/, zip([{ name: "a.npy", data, header: 1e6 }])],
    ["a wrong local header", /local header/, zip([{ name: "a.npy", data, header: 1 }])],
    [
      "two members of one name",
      /one name.*"a\.npy"/,
      zip([
        { name: "a.npy", data },
        { name: "a.npy", data },
      ]),
    ],
    [
      "bad deflate",
      /cannot be unpacked/,
      zip([{ name: "a.npy", data, method: 8, packed: new Uint8Array(90).fill(0xff) }]),
    ],
    ["a member that is no array", /not a NumPy array/, zip([{ name: "a.npy", data: utf8("x".repeat(90)) }])],
  ])("refuses %s", async (_, message, bytes) => {
    await expect(open(bytes)).rejects.toMatchObject({
      name: "FormatError",
      message: expect.stringMatching(message) as string,
    });
  });

  it.each<[string, RegExp, Partial<Member>]>([
    ["a wrong checksum", /checksum.*damaged/, { crc: 1 }],
    ["a wrong checksum of a deflated member", /checksum.*damaged/, { crc: 1, method: 8 }],
    [
      "a member longer than it says",
      /another length/,
      { method: 8, packed: new Uint8Array(deflateRawSync(join(data, data))) },
    ],
    [
      "a deflated member cut short",
      /unpacked|another length/,
      { method: 8, packed: new Uint8Array(deflateRawSync(data)).slice(0, -9) },
    ],
  ])("refuses %s when it is read", async (_, message, lies) => {
    const read = async () => (await open(zip([{ name: "a.npy", data, ...lies }]))).read("a");
    await expect(read()).rejects.toMatchObject({
      name: "FormatError",
      message: expect.stringMatching(message) as string,
    });
  });

  it("computes CRC-32", () => {
    expect(crc32(utf8("123456789"))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array(0))).toBe(0);
  });
});
