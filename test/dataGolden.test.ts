import { expect, it } from "vitest";
import { batches, datasetOf, openDataset, resolveAnswers } from "../src/data/index.ts";
import type { BatchesOptions, ChatFormat, PromptStyle } from "../src/data/index.ts";
import { loadTokenizer } from "../src/model/tokenizer/index.ts";
import type { Tokenizer } from "../src/model/tokenizer/index.ts";
import { describeWithShared, readJson, shared } from "./support/shared.ts";

const smol = "models/smollm2-135m-instruct";
const rte = "data/rte/validation.jsonl";

interface Read {
  rows: number[][];
  labels: number[];
  prompts: string[];
}

/** The real tokens of every row, taken out of padded batches. */
async function read(path: string, tokenizer: Tokenizer, options: BatchesOptions, limit?: number): Promise<Read> {
  const out: Read = { rows: [], labels: [], prompts: [] };
  for await (const batch of batches(await openDataset(path, limit === undefined ? {} : { limit }), {
    tokenizer,
    ...options,
  })) {
    const [b, p] = batch.dims;
    for (let r = 0; r < b; r++) {
      const row = [...batch.tokens.subarray(r * p, (r + 1) * p)].filter((_, i) => batch.mask[r * p + i] === 1);
      out.rows.push(row);
      expect(row.at(-1)).toBe(batch.tokens[r * p + batch.answerIndices[r]!]);
    }
    out.labels.push(...batch.labels);
    out.prompts.push(...(batch.prompts ?? []));
  }
  return out;
}

describeWithShared("RTE with SmolLM2, four prompt forms", [`${smol}/golden-rte-first64.json`, rte], () => {
  interface Form {
    answers: string[];
    answer_ids: number[];
    examples: { idx: number; yes: boolean; n_tokens: number }[];
  }
  const golden = readJson<{ [form: string]: Form }>(shared(`${smol}/golden-rte-first64.json`));
  const prompts = readJson<{ prompts: { [name: string]: { text: string; ids: number[] } } }>(
    shared(`${smol}/golden.json`),
  ).prompts;

  it.each(["inline/raw", "inline/chat", "package/raw", "package/chat"])("%s", async (form) => {
    const tokenizer = await loadTokenizer(shared(smol));
    const [prompt, format] = form.split("/") as [PromptStyle, string];
    const chat: ChatFormat = format === "chat" ? "template" : "plain";
    const { examples, answers, answer_ids } = golden[`rte/${form}`]!;
    for (const paddingSide of ["left", "right"] as const) {
      const found = await read(shared(rte), tokenizer, { prompt, chat, paddingSide, batchSize: 5 }, examples.length);
      expect(found.rows.map((row) => row.length)).toEqual(examples.map((e) => e.n_tokens));
      expect(found.labels).toEqual(examples.map((e) => (e.yes ? 0 : 1)));
      if (form === "inline/raw") {
        expect(found.prompts[0]).toBe(prompts["rte-0-inline-raw"]!.text);
        expect(found.rows[0]).toEqual(prompts["rte-0-inline-raw"]!.ids);
      }
    }
    expect(resolveAnswers(answers, tokenizer).ids).toEqual(answer_ids);
  });
});

describeWithShared("RTE with GPT-2, as published", ["tokenizers/gpt2", rte], () => {
  it("has the published token counts, labels and answers", async () => {
    const tokenizer = await loadTokenizer(shared("tokenizers/gpt2"));
    const { rows, labels, prompts } = await read(shared(rte), tokenizer, { batchSize: 2 });
    expect(rows.length).toBe(277);
    expect(rows.every((row) => row[0] === 50256)).toBe(true); // BOS, although pad = BOS = EOS
    const lengths = rows.map((row) => row.length - 1);
    expect(lengths.slice(0, 6)).toEqual([55, 64, 177, 157, 59, 72]);
    expect(Math.max(...lengths)).toBe(261);
    expect(lengths.indexOf(261)).toBe(244);
    expect(lengths.toSorted((a, b) => a - b)[138]).toBe(67);
    expect(labels.slice(0, 6)).toEqual([1, 0, 1, 1, 0, 0]);
    expect(labels.filter((label) => label === 0).length).toBe(146);
    for (const row of rows) expect(row.slice(-6)).toEqual([11, 2035, 3363, 393, 1400, 13]);
    expect(prompts[0]).toMatch(/Foundation\.Does the previous passage .* had an accident\.\? Answer/);
    expect(resolveAnswers(["Yes", "No", "ĠYes", "ĠNo"], tokenizer).ids).toEqual([5297, 2949, 3363, 1400]);
  });
});

describeWithShared("BoolQ", [smol, "data/boolq/validation.jsonl"], () => {
  it("has class 1 for true, answered Yes", async () => {
    const tokenizer = await loadTokenizer(shared(smol));
    const data = await openDataset(shared("data/boolq/validation.jsonl"), { limit: 40 });
    for await (const batch of batches(data, { tokenizer, batchSize: 40 })) {
      expect([...batch.answerIds.subarray(0, 2)]).toEqual([tokenizer.idOf("No"), tokenizer.idOf("Yes")]);
      expect(batch.prompts![0]).toMatch(/^Ethanol fuel -- .*Does the previous passage imply that does ethanol take/s);
      batch.labels.forEach((label, i) => expect(batch.labelIds[i]).toBe(tokenizer.idOf(label === 1 ? "Yes" : "No")));
      expect(batch.labels[0]).toBe(0);
    }
  });
});

describeWithShared("indirect objects with SmolLM2", [`${smol}/golden-ioi.json`], () => {
  interface Ioi {
    examples: { text: string; ids: number[]; io: number; s: number }[];
  }
  it("rows with answers of their own", async () => {
    const tokenizer = await loadTokenizer(shared(smol));
    const { examples } = readJson<Ioi>(shared(`${smol}/golden-ioi.json`));
    const values = examples.map((e, i) => ({
      value: { prompt: e.text, answers: [tokenizer.decode([e.io]), tokenizer.decode([e.s])], label: 0 },
      where: `row ${i}`,
    }));
    const data = await datasetOf(() => values, { name: "ioi" });
    const seen: number[] = [];
    for await (const { dims, tokens, mask, answerIds, examples: numbers } of batches(data, {
      tokenizer,
      batchSize: 7,
    })) {
      const [b, p] = dims;
      for (let r = 0; r < b; r++) {
        const e = examples[numbers[r]!]!;
        expect([...tokens.subarray(r * p, (r + 1) * p)].filter((_, i) => mask[r * p + i] === 1)).toEqual(e.ids);
        expect([...answerIds.subarray(r * 2, r * 2 + 2)]).toEqual([e.io, e.s]);
        seen.push(numbers[r]!);
      }
    }
    expect(seen).toEqual(examples.map((_, i) => i));
  });
});
