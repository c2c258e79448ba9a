import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openDocuments, type OpenedDocuments } from "./documents.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "interpretune-documents-"));
});
afterAll(() => rm(folder, { recursive: true }));

const written = async (name: string, content: string | Uint8Array): Promise<string> => {
  await writeFile(join(folder, name), content);
  return join(folder, name);
};
const lines = (...rows: readonly unknown[]): string => rows.map((row) => JSON.stringify(row)).join("\n");
const all = async (documents: OpenedDocuments): Promise<unknown[]> => {
  const found: unknown[] = [];
  for await (const document of documents()) found.push(document);
  return found;
};
const read = async (path: string): Promise<unknown[]> => {
  const documents = await openDocuments(path);
  const found = await all(documents);
  expect(await all(documents)).toEqual(found);
  return found;
};

test("a document a line", async () => {
  expect(await read(await written("a.txt", "one\n\n  \ntwo, in the end"))).toEqual(["one", "two, in the end"]);
});

test("lines that are texts or ids, and rows with SAELens' columns", async () => {
  const rows = ["a text", [3, 1, 2], { text: "t" }, { problem: "p" }, { prompt: "q", label: 0 }, { input_ids: [5] }];
  expect(await read(await written("rows.jsonl", lines(...rows, { text: "never", tokens: [7, 8] })))).toEqual([
    ...["a text", [3, 1, 2], "t", "p", "q", [5]],
    [7, 8],
  ]);
});

test("columns of Parquet, 64-bit ids too", async () => {
  const texts = parquetWriteBuffer({ columnData: [{ name: "text", data: ["a", "b"], type: "STRING" }] });
  expect(await read(await written("texts.parquet", new Uint8Array(texts)))).toEqual(["a", "b"]);
  const ids = parquetWriteBuffer({
    columnData: [{ name: "input_ids", data: [[1n, 2n], [3n]] }],
    schema: [
      { name: "root", num_children: 1 },
      { name: "input_ids", repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST" },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      { name: "element", repetition_type: "OPTIONAL", type: "INT64" },
    ],
  });
  expect(await read(await written("ids.parquet", new Uint8Array(ids)))).toEqual([[1, 2], [3]]);
});

test("rows of a task are its prompts", async () => {
  const row = { premise: "It rained.", hypothesis: "It is wet.", label: 0 };
  const [first, ...more] = await read(await written("validation.jsonl", lines(row)));
  expect(first).toMatch(/It rained\.[^]*It is wet\./);
  expect(more).toEqual([]);
});

test("what is no document is named with its line", async () => {
  const rejects = async (content: string, message: RegExp): Promise<void> => {
    const path = await written("bad.jsonl", content);
    await expect(openDocuments(path).then(all)).rejects.toThrow(message);
  };
  await rejects(
    lines({ text: "good" }, { title: "none" }),
    /the row is no document[^]*bad\.jsonl:2[^]*tokens, input_ids/,
  );
  await rejects(lines({ text: 5 }), /'text' is no document[^]*bad\.jsonl:1[^]*5/);
  await rejects(lines({ tokens: [1, -2] }), /'tokens' is no document[^]*token ids/);
  await rejects(lines([1, "x"]), /the row is no document[^]*bad\.jsonl:1/);
  await rejects(lines({ title: "none" }), /the fields of no known kind[^]*title/);
  await rejects("{", /the line is not JSON/);
  await expect(openDocuments(join(folder, "absent.txt"))).rejects.toThrow(/absent\.txt/);
});
