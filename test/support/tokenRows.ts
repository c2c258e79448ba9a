/** A few short rows of token ids, for sessions. */
import { datasetOf, type Dataset } from "../../src/data/index.ts";

/** Rows of several lengths; ids below 30. */
export const tokenRows: readonly number[][] = [
  [5, 6, 7],
  [8, 9],
  [4, 4, 4, 4],
  [1, 2, 3],
  [9, 8, 7, 6, 5],
  [11, 12],
];

/** The first of them as a data set. @param labels default: 0 and 1 by turns */
export function tokenData(length: number = tokenRows.length, labels?: readonly number[]): Promise<Dataset> {
  const rows = tokenRows.slice(0, length);
  return datasetOf(
    () => rows.map((ids, i) => ({ value: { input_ids: ids, label: labels?.[i] ?? i % 2 }, where: `row ${i}` })),
    { name: "ids", length },
  );
}
