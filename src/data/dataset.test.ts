import { mkdtemp, open as openFile, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openDataset } from "./dataset.ts";
import type { Dataset, Row } from "./index.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dataset-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(content: string | Uint8Array, name = "data.jsonl"): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

async function rows(data: Dataset): Promise<Row[]> {
  const all: Row[] = [];
  for await (const row of data) all.push(row);
  return all;
}

const line = (i: number): string => JSON.stringify({ prompt: `prompt ${i}`, answers: [" a", " b"], label: i % 2 });

describe("JSON Lines", () => {
  it("keeps file order, skips blank lines, splits at newlines only", async () => {
    const content = `\ufeff${JSON.stringify({ prompt: "one\u2028still one", label: 0 })}\r\n\n   \n{"prompt":"two","label":1}`;
    const data = await openDataset(await file(content));
    expect(data.kind).toBe("prompt");
    expect(await rows(data)).toMatchObject([
      { example: 0, prompt: "one\u2028still one" },
      { example: 1, prompt: "two", where: `${data.name}:4` },
    ]);
  });

  it.skipIf(process.platform !== "linux")("holds no file open where rows are left half way", async () => {
    const path = await file([0, 1, 2].map((i) => `${line(i)}\n`).join(""), "left.jsonl");
    const open = async (): Promise<string[]> =>
      (
        await Promise.all((await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")))
      ).filter((target) => target === path);
    const reader = (await openDataset(path))[Symbol.asyncIterator]();
    expect((await reader.next()).value).toMatchObject({ prompt: "prompt 0" });
    expect(await open()).toEqual([]);
    expect((await reader.next()).value).toMatchObject({ prompt: "prompt 1" });
    const held = await openFile(path);
    expect(await open()).toEqual([path]); // they would be seen
    await held.close();
  });

  it("reads anew at each iteration, up to the limit", async () => {
    const data = await openDataset(await file(Array.from({ length: 9 }, (_, i) => line(i)).join("\n")), { limit: 4 });
    expect((await rows(data)).map((r) => r.example)).toEqual([0, 1, 2, 3]);
    expect((await rows(data)).length).toBe(4);
  });

  it("puts characters together that lie across the chunks of a read", async () => {
    const prompt = "東京🙂".repeat(200_000); // 2 MB: two chunks
    const data = await openDataset(await file(JSON.stringify({ prompt, label: 0 })));
    expect(await rows(data)).toMatchObject([{ prompt }]);
  });

  it("names the line that is not JSON", async () => {
    const data = await openDataset(await file(`${line(0)}\n\n{"prompt": `));
    await expect(rows(data)).rejects.toThrow(`${data.name}:3`);
  });

  it("names the line whose fields are others than before", async () => {
    const data = await openDataset(await file(`${line(0)}\n{"input_ids": [1], "label": 0}`));
    await expect(rows(data)).rejects.toThrow(/field prompt.*data\.jsonl:2/);
  });

  it("refuses text that is not UTF-8", async () => {
    const path = await file(Uint8Array.from([...new TextEncoder().encode(`${line(0)}\n`), 0x22, 0xff, 0x22]));
    await expect(openDataset(path)).rejects.toThrow("not UTF-8");
  });

  it("refuses an empty file, a missing one and a limit of 0", async () => {
    await expect(openDataset(await file("\n\n"))).rejects.toThrow("no rows");
    await expect(openDataset(join(folder, "absent.jsonl"))).rejects.toThrow("absent.jsonl");
    await expect(openDataset(await file(line(0)), { limit: 0 })).rejects.toThrow("limit");
  });
});

describe("Parquet", () => {
  const buffer = (columnData: Parameters<typeof parquetWriteBuffer>[0]["columnData"]): Uint8Array =>
    new Uint8Array(parquetWriteBuffer({ columnData }));

  it("reads SuperGLUE columns, more rows than are read at once", async () => {
    const n = 600;
    const text = Array.from({ length: n }, (_, i) => `premise ${i}`);
    const path = await file(
      buffer([
        { name: "premise", data: text, type: "STRING" },
        { name: "hypothesis", data: text, type: "STRING" },
        { name: "label", data: text.map((_, i) => BigInt(i % 2)), type: "INT64" },
      ]),
      "rte.parquet",
    );
    const data = await openDataset(path);
    expect(data).toMatchObject({ kind: "rte", length: n });
    const all = await rows(data);
    expect(all.map((r) => r.example)).toEqual(text.map((_, i) => i));
    expect(all[599]).toMatchObject({
      first: "premise 599",
      second: "premise 599",
      label: 1,
      where: `${path}, row 599`,
    });
    expect((await rows(await openDataset(path, { limit: 3 }))).length).toBe(3);
  });

  it("says what is wrong with a broken file", async () => {
    const whole = buffer([{ name: "prompt", data: ["x"], type: "STRING" }]);
    await expect(openDataset(await file(whole.slice(0, whole.length - 6), "cut.parquet"))).rejects.toThrow(
      /Parquet.*cut\.parquet/,
    );
    await expect(openDataset(await file(whole, "fields.parquet"))).rejects.toThrow("label");
  });
});
