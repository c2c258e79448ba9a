/** @file What a logger is, and loggers of lines: CSV and JSON. */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { makeFolderAtOnce, replaceFileAtOnce } from "../../formats/disk/atOnce.ts";
import { systemCause, systemCode } from "../../formats/disk/systemError.ts";
import { TrainError } from "../errors.ts";

/** Where and when something was logged. */
export interface LogPoint {
  /** Optimiser steps so far. */
  readonly step: number;
  readonly epoch: number;
}

/** Somebody who writes metrics down. */
export interface MetricLogger {
  /** Once before the first `log`. With a resumed run, what was logged after the step `after` is not part of it. */
  start?(run: { readonly after: number | undefined }): void;
  log(metrics: Readonly<Record<string, number>>, at: LogPoint): void;
  /** After the last `log`, also of a run that failed. */
  close?(): void;
}

/** Calls that write, with the file in what they throw. */
export function writing<T>(file: string, write: () => T): T {
  try {
    return write();
  } catch (cause) {
    throw new TrainError("the log cannot be written", {
      code: "train/log",
      where: file,
      received: systemCode(cause),
      hint: "choose another folder, or make room",
      cause: systemCause(cause),
    });
  }
}

/** The lines of a file; a last one that was cut off is left out. */
function linesOf(file: string): string[] {
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
}

/**
 * Metrics as JSON, a line for each point: `{"step": 3, "epoch": 0, "train_loss": 0.7}`. Not-a-number and infinity are the
 * strings that `String` gives.
 * @example
 * const logger = jsonlLogger("runs/metrics.jsonl");
 * logger.start?.({ after: undefined });
 * logger.log({ train_loss: 0.7 }, { step: 3, epoch: 0 });
 */
export function jsonlLogger(file: string): MetricLogger {
  return {
    start: ({ after }) =>
      writing(file, () => {
        makeFolderAtOnce(dirname(file));
        const kept =
          after === undefined ? [] : linesOf(file).filter((line) => (JSON.parse(line) as LogPoint).step <= after);
        replaceFileAtOnce(file, kept.map((line) => `${line}\n`).join(""));
      }),
    log: (metrics, at) => {
      const values = Object.entries(metrics).map(([name, x]) => [name, Number.isFinite(x) ? x : String(x)] as const);
      writing(file, () => appendFileSync(file, `${JSON.stringify({ ...at, ...Object.fromEntries(values) })}\n`));
    },
  };
}

/**
 * Metrics as a table with a column for each name, as Lightning's CSVLogger writes it: cells of what was not logged at a
 * point are empty. A name that is new adds a column.
 * @example
 * const logger = csvLogger("runs/metrics.csv");
 * logger.start?.({ after: undefined });
 * logger.log({ train_loss: 0.7 }, { step: 3, epoch: 0 }); // epoch,step,train_loss and 0,3,0.7
 */
export function csvLogger(file: string): MetricLogger {
  let columns: string[] = [];
  const join = (cells: readonly (string | number)[]): string => `${cells.map(cell).join(",")}\n`;
  const rewrite = (rows: readonly string[][]): void =>
    replaceFileAtOnce(
      file,
      [columns, ...rows].map((row) => join([...row, ...columns.slice(row.length).map(() => "")])).join(""),
    );
  const read = (): string[][] => linesOf(file).map(cellsOf);
  return {
    start: ({ after }) =>
      writing(file, () => {
        makeFolderAtOnce(dirname(file));
        const [head = [], ...rows] = after === undefined ? [] : read();
        columns = head.length > 0 ? head : ["epoch", "step"];
        rewrite(rows.filter((row) => Number(row[columns.indexOf("step")]) <= after!));
      }),
    log: (metrics, at) =>
      writing(file, () => {
        const row: Readonly<Record<string, number>> = { ...metrics, ...at };
        const news = Object.keys(row).filter((name) => !columns.includes(name));
        if (news.length > 0) {
          const [, ...rows] = read();
          columns = [...columns, ...news];
          rewrite(rows);
        }
        appendFileSync(file, join(columns.map((name) => row[name] ?? "")));
      }),
  };
}

const cell = (value: string | number): string =>
  typeof value === "number" || !/[",\n]/.test(value) ? String(value) : `"${value.replaceAll('"', '""')}"`;

const cellsOf = (line: string): string[] =>
  [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) =>
    quoted === undefined ? plain! : quoted.replaceAll('""', '"'),
  );
