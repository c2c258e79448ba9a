import fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { tokenizerFromJson } from "../model/tokenizer/index.ts";
import { parseAnswers, resolveAnswers } from "./answers.ts";
import { batches, lastReal } from "./batches.ts";
import type { Batch, BatchesOptions } from "./batches.ts";
import { datasetOf } from "./dataset.ts";
import type { Dataset } from "./dataset.ts";

const json: unknown = JSON.parse(
  readFileSync(new URL("../../test/goldens/text/bpe-byte-fallback.tokenizer.json", import.meta.url), "utf8"),
);
/** BOS is `<s>` (1), put there by the tokenizer itself; pad = EOS = BOS, the awkward case. */
const tokenizer = tokenizerFromJson(json, { bos_token: "<s>", eos_token: "<s>", pad_token: "<s>" });

const memory = (values: unknown[]): Promise<Dataset> =>
  datasetOf(() => values.map((value, i) => ({ value, where: `memory:${i + 1}` })), { name: "memory" });

async function all(values: unknown[], options: BatchesOptions): Promise<Batch[]> {
  const out: Batch[] = [];
  for await (const batch of batches(await memory(values), options)) out.push(batch);
  return out;
}

const ids = (list: number[], label = 0): unknown => ({ input_ids: list, label });

describe("rows of token ids", () => {
  it("need no tokenizer, are used as given, and are padded per batch", async () => {
    const data = [ids([0, 7, 0]), ids([5], 1), ids([0, 0], 1)];
    const [first, second] = await all(data, { answers: [2, 3], batchSize: 2 });
    expect(first).toMatchObject({ index: 0, dims: [2, 3], classes: 2, prompts: null });
    expect([...first!.tokens]).toEqual([0, 7, 0, 0, 0, 5]);
    expect([...first!.mask]).toEqual([1, 1, 1, 0, 0, 1]);
    expect([...first!.answerIndices]).toEqual([2, 2]);
    expect([...first!.answerIds]).toEqual([2, 3, 2, 3]);
    expect([...first!.labels]).toEqual([0, 1]);
    expect([...first!.labelIds]).toEqual([2, 3]);
    expect(second).toMatchObject({ index: 1, dims: [1, 2] });
    expect([...second!.tokens]).toEqual([0, 0]);
    expect([...second!.examples]).toEqual([2]);
  });

  it("read the answer at the last real token under either padding, whatever the pad id", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 6 }), {
          minLength: 1,
          maxLength: 5,
        }),
        fc.constantFrom("left" as const, "right" as const),
        async (rows, paddingSide) => {
          const [batch] = await all(
            rows.map((row) => ids(row)),
            { answers: [2, 3], tokenizer, paddingSide },
          );
          const [b, p] = batch!.dims;
          expect([b, p]).toEqual([rows.length, Math.max(...rows.map((row) => row.length))]);
          rows.forEach((row, r) => {
            const real = Array.from({ length: p }, (_, i) => i).filter((i) => batch!.mask[r * p + i] === 1);
            expect(real.map((i) => batch!.tokens[r * p + i])).toEqual(row);
            expect(batch!.answerIndices[r]).toBe(real.at(-1));
            expect(real[0]).toBe(paddingSide === "left" ? p - row.length : 0);
          });
        },
      ),
      { numRuns: 50, seed: 1 },
    );
  });

  it("may have answers of their own, as ids", async () => {
    const [batch] = await all([{ input_ids: [4], label: 1, answers: [9, 8] }], {});
    expect([...batch!.answerIds]).toEqual([9, 8]);
    expect([...batch!.labelIds]).toEqual([8]);
  });

  it("end a batch where the number of answers changes", async () => {
    const row = (answers: number[]): unknown => ({ input_ids: [4], label: 0, answers });
    const found = await all([row([1, 2]), row([1, 2, 3]), row([2, 3, 4]), row([1, 2])], { batchSize: 4 });
    expect(found.map((b) => [b.index, b.classes, ...b.examples])).toEqual([
      [0, 2, 0],
      [1, 3, 1, 2],
      [2, 2, 3],
    ]);
  });

  it.each<[string, unknown, BatchesOptions, string]>([
    ["no answers", ids([1]), {}, "no answers"],
    ["a label without an answer", ids([1], 2), { answers: [2, 3] }, "label below 2"],
    ["a row longer than the context", ids([1, 1, 1]), { answers: [2, 3], maxLength: 2 }, "at most 2 tokens"],
    ["a token that the model lacks", ids([1, 50]), { answers: [2, 3], vocabSize: 50 }, "ids below 50"],
    ["an answer that the model lacks", ids([1]), { answers: [2, 99], vocabSize: 50 }, "ids below 50"],
    ["text without a tokenizer", { prompt: "x", label: 0 }, { answers: [2, 3] }, "need a tokenizer"],
    ["row answers without a tokenizer", { input_ids: [1], answers: [" a", " b"], label: 0 }, {}, "need a tokenizer"],
  ])("refuse %s, naming the line", async (_, row, options, message) => {
    await expect(all([row], options)).rejects.toThrow(message);
    await expect(all([row], options)).rejects.toThrow("memory:1");
  });

  it("refuse a batch size of 0", async () => {
    await expect(all([ids([1])], { answers: [2, 3], batchSize: 0 })).rejects.toThrow("batch size");
  });
});

describe("prompts", () => {
  const prompt = (text: string): unknown => ({ prompt: text, label: 0, answers: ["The", "the"] });
  const bos = tokenizer.bosId!;
  const answers = [380, 381];

  it("have one BOS, or none, as asked", async () => {
    const row = { prompt: "the ferry", label: 0 };
    const bare = tokenizer.encode("the ferry", { addSpecialTokens: false }).ids;
    const tokens = async (options: BatchesOptions): Promise<number[]> => [
      ...(await all([row], { tokenizer, answers, ...options }))[0]!.tokens,
    ];
    expect(await tokens({})).toEqual([bos, ...bare]);
    expect(await tokens({ prependBos: true })).toEqual([bos, ...bare]);
    expect(await tokens({ prependBos: false })).toEqual(bare);
  });

  it("get no second BOS when a chat format writes it", async () => {
    const gemma = tokenizerFromJson(json, { bos_token: "<s>" });
    const [batch] = await all([{ prompt: " hi ", label: 0 }], { tokenizer: gemma, answers, chat: "gemma-chat" });
    expect(batch!.prompts).toEqual(["<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n"]);
    expect([...batch!.tokens].filter((id) => id === bos)).toEqual([]);
  });

  it("are used verbatim", async () => {
    const [batch] = await all([{ prompt: "  a \n", label: 0 }], { tokenizer, answers });
    expect(batch!.prompts).toEqual(["  a \n"]);
  });

  it("name the pieces of an answer that is not one token", async () => {
    await expect(all([prompt("x")], { tokenizer })).rejects.toThrow(/"The" is not a single token.*" T" "he"/);
  });
});

describe("answers", () => {
  it("of the command line", () => {
    expect(parseAnswers("2,3")).toEqual([2, 3]);
    expect(parseAnswers("Yes,No")).toEqual(["Yes", "No"]);
    expect(parseAnswers("2,No")).toEqual(["2", "No"]);
    expect(parseAnswers("text:2,text:3")).toEqual(["2", "3"]);
    for (const bad of ["", "2", "Yes", "Yes,", ",,"]) expect(() => parseAnswers(bad)).toThrow("two or more");
  });

  it("are exact vocabulary strings, ids, or the longest variant that there is", () => {
    expect(resolveAnswers(["▁T", "he"], tokenizer)).toEqual({
      ids: [tokenizer.idOf("▁T"), tokenizer.idOf("he")],
      names: ["▁T", "he"],
    });
    expect(resolveAnswers([5, 6])).toEqual({ ids: [5, 6], names: ["5", "6"] });
    expect(
      resolveAnswers(
        [
          ["T", "▁T", "▁True"],
          ["he", "h"],
        ],
        tokenizer,
      ).names,
    ).toEqual(["▁T", "he"]);
  });

  it("say how to find a string that is not in the vocabulary", () => {
    expect(() => resolveAnswers([" T", "he"], tokenizer)).toThrow(/not in the vocabulary.*" T"/);
    expect(() => resolveAnswers(["T", ""], tokenizer)).toThrow("not in the vocabulary");
    expect(() => resolveAnswers(["Yes", "No"])).toThrow("token ids");
    expect(() => resolveAnswers([4, 4])).toThrow("different tokens");
    expect(() => resolveAnswers([4])).toThrow("two or more");
    expect(() => resolveAnswers([4, -1])).toThrow("non-negative");
  });
});

describe("lastReal", () => {
  it("finds the last real position of each row of any mask", () => {
    expect([...lastReal([1, 1, 0, 0, 1, 1, 0, 1, 0], [3, 3])]).toEqual([1, 2, 1]);
  });
  it("refuses a row of padding", () => {
    expect(() => lastReal([1, 0, 0, 0], [2, 2])).toThrow("row 1");
  });
});
