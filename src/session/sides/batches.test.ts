/** @file Batches that are kept: made once, their source open only while somebody reads. */
import { expect, it } from "vitest";
import { datasetOf, type Batch } from "../../data/index.ts";
import { KeptBatches, splitBatches } from "./batches.ts";

/** Batches that say only which they are, from a source that says whether it is open. */
function counted(count: number): { kept: KeptBatches; open: () => number; opened: () => number } {
  let [open, opened] = [0, 0];
  async function* source(): AsyncGenerator<Batch> {
    open++;
    opened++;
    try {
      for (let index = 0; index < count; index++) {
        await Promise.resolve();
        yield { index } as Batch;
      }
    } finally {
      open--;
    }
  }
  return { kept: new KeptBatches(source), open: () => open, opened: () => opened };
}

async function take(kept: AsyncIterable<Batch>, count: number): Promise<number[]> {
  const seen: number[] = [];
  for await (const { index } of kept) if (seen.push(index) === count) break;
  return seen;
}

it("are closed when a reader leaves before the end, and go on where they were", async () => {
  const { kept, open, opened } = counted(5);
  expect(await take(kept, 2)).toEqual([0, 1]);
  expect([open(), opened()]).toEqual([0, 1]);
  expect(await take(kept, 2)).toEqual([0, 1]);
  expect(opened()).toBe(1);
  expect(await take(kept, 3)).toEqual([0, 1, 2]);
  expect(await take(kept, Infinity)).toEqual([0, 1, 2, 3, 4]);
  expect([open(), opened()]).toEqual([0, 3]);
  expect(await take(kept, Infinity)).toEqual([0, 1, 2, 3, 4]);
  expect(opened()).toBe(3);
});

it("stay open for those who still read", async () => {
  const { kept, open, opened } = counted(4);
  const [slow, fast] = [kept[Symbol.asyncIterator](), kept[Symbol.asyncIterator]()];
  expect((await slow.next()).value).toMatchObject({ index: 0 });
  expect((await fast.next()).value).toMatchObject({ index: 0 });
  await fast.return(undefined);
  expect(open()).toBe(1);
  expect((await slow.next()).value).toMatchObject({ index: 1 });
  await slow.return(undefined);
  expect([open(), opened()]).toEqual([0, 1]);
});

it("let the data set go, too", async () => {
  let open = 0;
  async function* values(): AsyncGenerator<{ value: object; where: string }> {
    open++;
    try {
      for (let i = 0; i < 9; i++) {
        await Promise.resolve();
        yield { value: { input_ids: [1, 2, i], label: i % 2, answers: [1, 2] }, where: `row ${i}` };
      }
    } finally {
      open--;
    }
  }
  const data = await datasetOf(values, { name: "rows" });
  const kept = new KeptBatches(() => splitBatches(data, { batchSize: 2 }, "batch"));
  const seen: number[] = [];
  for await (const batch of kept) {
    seen.push(open);
    if (batch.index === 2) break;
  }
  expect([seen, open]).toEqual([[1, 1, 1], 0]);
});
