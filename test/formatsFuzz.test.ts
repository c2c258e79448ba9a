/**
 * @file Files from strangers: whatever the bytes, a reader answers with tensors or a FormatError, soon, and allocates no buffer
 * of more than twice the file. `FULL=1` mutates PyTorch's files and npz 100 000 times each.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  FormatError,
  encodeSafetensors,
  memorySource,
  openCheckpoint,
  openGguf,
  openNpz,
  openSafetensors,
  openTorchPickle,
  readNpy,
  type ByteSource,
  type TensorFile,
} from "../src/formats/index.ts";
import { largestAllocation } from "./support/allocations.ts";
import { full } from "./support/full.ts";
import { GgufBytes } from "./support/ggufBytes.ts";

const golden = (path: string) =>
  new Uint8Array(readFileSync(fileURLToPath(new URL(`goldens/${path}`, import.meta.url))));

/** Damage: bytes overwritten (with extremes more often than chance has it), cut out, put in, doubled, the end cut off. */
function damaged(valid: Uint8Array): fc.Arbitrary<Uint8Array> {
  // Most positions near the start and the end, where headers and directories are.
  const position = fc.oneof(
    fc.nat(valid.length),
    fc.nat(Math.min(400, valid.length)),
    fc.nat(Math.min(400, valid.length)).map((n) => valid.length - n),
  );
  const extremes = [[0], [0xff], [0, 0, 0, 0, 0, 0, 0, 0], Array<number>(8).fill(0xff), [0xff, 0xff, 0xff, 0x7f]];
  const bytes = fc.oneof(fc.array(fc.nat(255), { minLength: 1, maxLength: 8 }), fc.constantFrom(...extremes));
  const step = fc.record({
    kind: fc.constantFrom("set", "set", "set", "cut", "put", "double", "end"),
    at: position,
    bytes,
  });
  return fc.array(step, { minLength: 1, maxLength: 3 }).map((steps) => {
    let file = [...valid];
    for (const { kind, at, bytes } of steps) {
      if (kind === "set") file.splice(at, bytes.length, ...bytes);
      else if (kind === "cut") file.splice(at, bytes.length);
      else if (kind === "put") file.splice(at, 0, ...bytes);
      else if (kind === "double") file.splice(at, 0, ...file.slice(at, at + 16 * bytes.length));
      else file = file.slice(0, at);
    }
    return Uint8Array.from(file);
  });
}

/** Run a reader on damaged copies and on random bytes after a valid start. */
function neverFails(
  name: string,
  valid: Uint8Array,
  read: (source: ByteSource) => Promise<unknown>,
  numRuns = 500,
): void {
  const random = fc.tuple(fc.nat(Math.min(64, valid.length)), fc.uint8Array({ maxLength: 200 }));
  const files = fc.oneof(
    { arbitrary: damaged(valid), weight: 5 },
    { arbitrary: random.map(([kept, rest]) => Uint8Array.from([...valid.subarray(0, kept), ...rest])), weight: 1 },
  );
  it(name, { timeout: full ? 3_600_000 : 120_000 }, async () => {
    await read(memorySource(valid));
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(files, async (bytes) => {
        const start = process.cpuUsage();
        const error: unknown = await read(memorySource(bytes)).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (error !== undefined) {
          refused++;
          expect(error).toBeInstanceOf(FormatError);
        }
        // Work, not waiting: a machine may be busy with others.
        expect(process.cpuUsage(start).user).toBeLessThan(2e6);
      }),
      { numRuns },
    );
    expect(refused).toBeGreaterThan(numRuns / 10);
  });
}

/** Open and read in the stored types; then no buffer may be larger than twice the file, or than what it truly unpacks to. */
function staysSmall(
  name: string,
  valid: Uint8Array,
  open: (source: ByteSource) => Promise<TensorFile>,
  runs: number,
): void {
  let unpacked = 0;
  const read = async (source: ByteSource): Promise<void> => {
    const largest = await largestAllocation(async () => {
      const file = await open(source);
      for (const name of file.names) {
        const data = await file.read(name);
        expect(data.length).toBe(file.info(name).shape.reduce((a, b) => a * b, 1));
      }
      await file.close();
    });
    if (source.byteLength === valid.length && unpacked === 0) unpacked = Math.max(1, largest);
    if (largest > 2 * source.byteLength && largest > unpacked)
      throw new Error(`${largest} of ${source.byteLength} bytes`);
  };
  neverFails(name, valid, read, full ? runs : Math.ceil(runs / 250));
}

const readAll = (open: (source: ByteSource) => Promise<TensorFile>) => async (source: ByteSource) => {
  const file = await open(source);
  for (const name of file.names) {
    const info = file.info(name);
    expect((await file.read(name)).length).toBe(info.shape.reduce((a, b) => a * b, 1));
  }
  await file.readManyFloat32();
  await file.close();
};

describe("damaged files give tensors or a FormatError", async () => {
  const gguf = new GgufBytes()
    .start(3, 5)
    .string("general.alignment").u32(4, 32)
    .string("tokenizer.ggml.tokens").u32(9, 8).u64(3).string("a").string("bé").string("")
    .string("scores").u32(9, 6).u64(2).u32(0x3f800000, 0)
    .string("nested").u32(9, 9).u64(1).u32(7).u64(2).u8(0, 1)
    .string("big").u32(10).u64(2n ** 60n)
    .tensor("q", [32, 2], 3, 0)
    .tensor("w", [3, 2], 0, 64)
    .tensor("h", [2], 1, 96)
    .data(100)
    .done(); // prettier-ignore
  neverFails("GGUF of every type", golden("gguf/types.gguf"), readAll(openGguf), 100);
  neverFails("GGUF", gguf, readAll(openGguf), 1500);

  const tensors = {
    w: { dtype: "float32", shape: [2, 3], data: new Float32Array(6) },
    h: { dtype: "bfloat16", shape: [4], data: new Uint16Array(4) },
    ids: { dtype: "int64", shape: [], data: new BigInt64Array(1) },
  } as const;
  const safetensors = await encodeSafetensors(tensors, { format: "pt" });
  neverFails("safetensors", safetensors, readAll(openSafetensors), 1500);

  const index = new TextEncoder().encode(
    '{"metadata":{"total_size":40},"weight_map":{"w":"a.safetensors","h":"a.safetensors"}}',
  );
  const checkpoint = (source: ByteSource) => async (name: string) =>
    name.endsWith(".json") ? source : name === "a.safetensors" ? memorySource(safetensors) : undefined;
  neverFails("index of shards", index, (source) => readAll(() => openCheckpoint(checkpoint(source)))(source));

  neverFails("npy", golden("numpy/version2.npy"), readNpy, 1000);
  staysSmall("PyTorch, types", golden("torch/types.pt"), openTorchPickle, 50_000);
  staysSmall("PyTorch, nested", golden("torch/nested.pt"), openTorchPickle, 25_000);
  staysSmall("PyTorch, strides", golden("torch/views.pt"), openTorchPickle, 25_000);
  staysSmall("npz of one array", golden("numpy/small.npz"), openNpz, 50_000);
  staysSmall("npz, deflated, of one array", golden("numpy/small-deflated.npz"), openNpz, 50_000);
  neverFails("npz, stored", golden("numpy/arrays.npz"), readAll(openNpz), 100);
  neverFails("npz, deflated", golden("numpy/deflated.npz"), readAll(openNpz), 100);
});
