import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { memorySource } from "../byteSource.ts";
import { FormatError } from "../errors.ts";
import { fileSource } from "../disk/fileSource.ts";
import { openTorchPickle } from "./torchPickle.ts";
import { runPickle } from "./machine.ts";
import { torchWorld } from "./globals.ts";

const golden = (name: string): string => fileURLToPath(new URL(`../../../test/goldens/torch/${name}`, import.meta.url));
const open = async (name: string) => openTorchPickle(await fileSource(golden(name)));

type Expected = Record<string, Record<string, { dtype: string; shape: number[]; data: number[] }>>;
const expected = JSON.parse(readFileSync(golden("expected.json"), "utf8")) as Expected;

const refusal = async (opened: Promise<unknown>): Promise<FormatError> => {
  const error: unknown = await opened.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(FormatError);
  return error as FormatError;
};

describe("files that torch.save wrote", () => {
  const files = [
    ...Object.keys(expected).map((name) => [name, name]),
    ["protocol4", "module"],
    ["protocol5", "module"],
  ];
  it.each(files)("%s: names, types, shapes and values", async (file, name) => {
    const opened = await open(`${file}.pt`);
    const tensors = expected[name]!;
    expect([...opened.names].sort()).toEqual(Object.keys(tensors).sort());
    const floats = await opened.readManyFloat32();
    const stored = await opened.readMany();
    for (const [tensor, { dtype, shape, data }] of Object.entries(tensors)) {
      expect(opened.info(tensor)).toMatchObject({ dtype, shape });
      expect([...floats.get(tensor)!], tensor).toEqual(data);
      const halves = dtype.includes("float16");
      if (!halves) expect(Array.from(stored.get(tensor)!, Number), tensor).toEqual(data);
    }
    await opened.close();
  });

  it("plain values beside tensors are metadata", async () => {
    const opened = await open("nested.pt");
    const { metadata } = opened;
    expect(metadata.get("step")).toBe(12);
    expect(metadata.get("loss")).toBe(-0.5);
    expect(metadata.get("name")).toBe("größe");
    expect(metadata.get("big")).toBe(2n ** 70n);
    expect(metadata.get("bytes")).toEqual(new Uint8Array([0, 255]));
    expect(metadata.get("set")).toEqual(new Set([3]));
    expect(metadata.get("size")).toEqual([2, 3]);
    const flags = { on: true, off: false, none: null, dims: [1, 2], dtype: "torch.float32" };
    expect(metadata.get("flags")).toEqual(new Map(Object.entries(flags)));
    await opened.close();
  });

  it("a type that is not read is listed, and asking for it says so", async () => {
    const opened = await open("unread-type.pt");
    expect(await opened.readFloat32("f")).toEqual(new Float32Array([1, 1]));
    expect((await refusal(opened.read("w"))).message).toMatch(/not supported.*uint16/s);
    await opened.close();
  });
});

describe("what is refused", () => {
  it("a pickle that would run a program, by the program's name", async () => {
    const error = await refusal(open("runs.pt"));
    expect(error.code).toBe("formats/unsupported");
    expect(error.message).toMatch(/neither loaded nor run.*"posix.system"/s);
    expect(existsSync("torch-pickle-ran")).toBe(false);
  });

  it.each([
    ["whole-module.pt", /"torch.nn.modules.linear.Linear"/],
    ["legacy.pt", /before 1\.6.*save it again with torch\.save/s],
    ["deflated.pt", /storage is compressed/],
    ["big-endian.pt", /another order.*"big"/s],
  ])("%s", async (name, message) => {
    expect((await refusal(open(name))).message).toMatch(message);
  });

  it("another archive, and no archive", async () => {
    expect((await refusal(openTorchPickle(memorySource(new Uint8Array(40))))).message).toMatch(/not a PyTorch file/);
    const npz = readFileSync(fileURLToPath(new URL("../../../test/goldens/numpy/arrays.npz", import.meta.url)));
    expect((await refusal(openTorchPickle(memorySource(new Uint8Array(npz))))).message).toMatch(/not PyTorch's/);
  });
});

describe("pickles by hand", () => {
  const run = (...parts: (string | number[])[]): unknown =>
    runPickle(
      Uint8Array.from(
        parts.flatMap((part) => (typeof part === "string" ? [...part].map((c) => c.charCodeAt(0)) : part)),
      ),
      torchWorld("by hand"),
    );

  it("numbers of every length", () => {
    expect(run([0x8a, 1, 0xff, 0x2e])).toBe(-1);
    expect(run([0x8a, 0, 0x2e])).toBe(0);
    expect(run([0x4a, 0xfe, 0xff, 0xff, 0xff, 0x2e])).toBe(-2);
    expect(run([0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x2e])).toBe(2n ** 64n);
  });

  it.each<[string, (string | number[])[], RegExp]>([
    ["an eval", ["cbuiltins\neval\n", "(X", [1, 0, 0, 0], "1tR."], /"builtins.eval"/],
    ["a global by two strings", [[0x8c, 2], "os", [0x8c, 6], "system", [0x93], "."], /"os.system"/],
    ["instances", ["(i__main__\nA\n."], /instruction 0x69/],
    ["NEWOBJ", ["ccollections\nOrderedDict\n)", [0x81], "."], /instruction 0x81/],
    ["calling a type", ["ctorch\nFloatStorage\n)R."], /cannot be called.*torch.FloatStorage/s],
    ["calling a value", ["])R."], /cannot be called/],
    ["attributes of a list", ["]}b."], /sets attributes/],
    ["no end", ["]]]"], /ends early/],
    ["an empty stack", ["0."], /not opened|not there/],
    ["below a mark", ["](a."], /not there/],
    ["an unknown memo", ["h", [7], "."], /has not made/],
    ["a dict of odd length", ["}(Nu."], /no dict/],
    ["protocol 1", [[0x80, 1], "N."], /another protocol/],
    ["a long text", ["X", [0xff, 0xff, 0xff, 0x7f], "abc."], /ends early/],
    ["a tensor over nothing", ["ctorch._utils\n_rebuild_tensor_v2\n)R."], /no storage/],
  ])("%s", (_, parts, message) => {
    expect(() => run(...parts)).toThrow(FormatError);
    expect(() => run(...parts)).toThrow(message);
  });

  it("a stack of a million values, two million instructions", () => {
    const world = torchWorld("by hand");
    expect(() => runPickle(new Uint8Array(1_100_000).fill(0x4e), world)).toThrow(/too long/);
    const pushAndPop = new Uint8Array(2_200_000).map((_, i) => (i % 2 === 0 ? 0x4e : 0x30));
    expect(() => runPickle(pushAndPop, world)).toThrow(/too long/);
  });
});
