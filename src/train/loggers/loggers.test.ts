import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sharedPath } from "../../../test/support/goldens.ts";
import { csvLogger, jsonlLogger, type MetricLogger } from "./logger.ts";
import { crc32c, tensorBoardLogger, tensorBoardRecord, type TensorBoardEvent } from "./tensorboard.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-loggers-"));
});
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const lines = (file: string): string[] => readFileSync(file, "utf8").trimEnd().split("\n");

/** Logs of steps 0, 2 and 4 with a column that comes late; then a run resumed after step 2 logs step 4 anew. */
function logTwice(make: () => MetricLogger): void {
  const first = make();
  first.start?.({ after: undefined });
  first.log({ loss: 0.5 }, { step: 0, epoch: 0 });
  first.log({ loss: 0.25, 'a "name", quoted': 1 }, { step: 2, epoch: 0 });
  first.log({ loss: 9 }, { step: 4, epoch: 1 });
  const second = make();
  second.start?.({ after: 2 });
  second.log({ loss: 0.125, val_loss: NaN }, { step: 4, epoch: 1 });
}

describe("loggers", () => {
  it("of JSON lines drop what a resumed run repeats", () => {
    logTwice(() => jsonlLogger(at("a/metrics.jsonl")));
    expect(lines(at("a/metrics.jsonl")).map((line) => JSON.parse(line) as unknown)).toEqual([
      { step: 0, epoch: 0, loss: 0.5 },
      { step: 2, epoch: 0, loss: 0.25, 'a "name", quoted': 1 },
      { step: 4, epoch: 1, loss: 0.125, val_loss: "NaN" },
    ]);
  });

  it("of tables add columns as they come, and drop what a resumed run repeats", () => {
    logTwice(() => csvLogger(at("b/metrics.csv")));
    expect(lines(at("b/metrics.csv"))).toEqual([
      'epoch,step,loss,"a ""name"", quoted",val_loss',
      "0,0,0.5,,",
      "0,2,0.25,1,",
      "1,4,0.125,,NaN",
    ]);
  });

  it("begin anew where a run is not resumed, and bear a line that was cut off", () => {
    for (const [name, make] of [
      ["c.jsonl", jsonlLogger],
      ["c.csv", csvLogger],
    ] as const) {
      logTwice(() => make(at(name)));
      writeFileSync(at(name), '{"step": 1', { flag: "a" });
      make(at(name)).start?.({ after: 4 });
      expect(lines(at(name)).at(-1)).toContain("NaN");
      make(at(name)).start?.({ after: undefined });
      expect(lines(at(name))).toEqual([name === "c.csv" ? "epoch,step" : ""]);
    }
  });

  it("name the file that cannot be written", () => {
    writeFileSync(at("file"), "");
    for (const make of [jsonlLogger, csvLogger])
      expect(() => make(at("file/metrics")).start?.({ after: undefined })).toThrow("the log cannot be written");
    expect(() => tensorBoardLogger(at("file")).start?.({ after: undefined })).toThrow(at("file"));
  });
});

describe("TensorBoard's event files", () => {
  it("have the checksums of RFC 3720", () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
  });

  it("are byte for byte what TensorBoard's own writer makes", () => {
    const events: TensorBoardEvent[] = [
      { wallTime: 1700000000.25, fileVersion: "brain.Event:2" },
      { wallTime: 1700000001.5, step: 0, scalars: { "train/loss": 0.6931472, epoch: 0 } },
      { wallTime: 1700000002.5, step: 300, scalars: { nàme: -Infinity } },
      { wallTime: 1700000003, step: 301, sessionStart: true },
    ];
    expect(Buffer.concat(events.map(tensorBoardRecord))).toEqual(
      readFileSync(sharedPath("goldens/tensorboard/events.tfevents")),
    );
  });

  it("are new ones for a resumed run, which voids what comes after it began", () => {
    let now = 1700000000;
    logTwice(() => tensorBoardLogger(at("events"), () => now++));
    const [first, second] = readdirSync(at("events")).sort();
    expect(first).toMatch(/^events\.out\.tfevents\.\d+\./);
    const begin = [
      tensorBoardRecord({ wallTime: 1700000006, fileVersion: "brain.Event:2" }),
      tensorBoardRecord({ wallTime: 1700000007, step: 3, sessionStart: true }),
      tensorBoardRecord({ wallTime: 1700000008, step: 4, scalars: { loss: 0.125, val_loss: NaN, epoch: 1 } }),
    ];
    expect(readFileSync(at(`events/${second}`))).toEqual(Buffer.concat(begin));
  });
});
