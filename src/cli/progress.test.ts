import { describe, expect, it } from "vitest";
import { Progress, track, type ProgressOptions } from "./progress.ts";

/** A stream that remembers, and a clock one moves by hand. */
function fake(tty: boolean, columns = 80): { options: ProgressOptions; text: () => string; wait: (s: number) => void } {
  let out = "";
  let now = 0;
  const stream = { isTTY: tty, columns, write: (text: string) => (out += text) };
  const options = { stream, clock: () => now, memory: () => 1.25e9 };
  return { options, text: () => out, wait: (seconds) => (now += 1000 * seconds) };
}

describe("progress", () => {
  it("draws a bar with rate, time left and memory in a terminal", () => {
    const { options, text, wait } = fake(true);
    const progress = new Progress({ ...options, label: "ablation", total: 200, unit: "ex" });
    wait(10);
    progress.update(50, { note: "batch 7" });
    const last = text().split("\r").at(-1)!;
    expect(last).toMatch(/^ablation: {2}25%\|█+▌? +\| 50\/200 \[00:10<00:30, 5\.00 ex\/s, 1\.3 GB, batch 7\]\x1b\[K$/);
    wait(0.05);
    progress.update(51); // too soon to draw
    expect(text().split("\r").at(-1)).toBe(last);
    wait(3700);
    progress.finish();
    expect(text()).toMatch(/51\/200 \[1:01:50<.*72\.75 s\/ex.*\n$/);
    for (const line of text().split("\r")) expect(line.replace("\x1b[K", "").trimEnd().length).toBeLessThan(80);
    const before = text();
    progress.update(200);
    progress.finish();
    expect(text()).toBe(before);
  });

  it("fits a narrow terminal", () => {
    const { options, text, wait } = fake(true, 20);
    using progress = new Progress({ ...options, total: 3, label: "a long label" });
    wait(1);
    progress.advance();
    for (const line of text().split("\r")) expect(line.replace("\x1b[K", "").length).toBeLessThan(20);
  });

  it("writes a line now and then elsewhere, without control characters", () => {
    const { options, text, wait } = fake(false);
    const progress = new Progress({ ...options, total: 30, interval: 5, label: "analyze" });
    for (let i = 0; i < 12; i++) {
      wait(1);
      progress.advance();
    }
    progress.print("a message");
    progress.finish();
    expect(text()).toBe(
      [
        "analyze:  16% 5/30 [00:05<00:25, 1.00 it/s, 1.3 GB]",
        "analyze:  33% 10/30 [00:10<00:20, 1.00 it/s, 1.3 GB]",
        "a message",
        "analyze:  40% 12/30 [00:12<00:18, 1.00 it/s, 1.3 GB]",
        "",
      ].join("\n"),
    );
  });

  it("without a total counts", () => {
    const { options, text, wait } = fake(false);
    const progress = new Progress({ ...options, unit: "tok" });
    wait(2);
    progress.advance(8);
    progress.finish();
    expect(text()).toBe("8 tok [00:02, 4.00 tok/s, 1.3 GB]\n");
  });

  it("prints above the bar", () => {
    const { options, text } = fake(true);
    new Progress({ ...options, total: 2 }).print("look");
    expect(text()).toMatch(/\r\x1b\[Klook\n\r {2}0%\|/);
  });
});

describe("track", () => {
  it("goes through everything and ends the line", async () => {
    const { options, text } = fake(false);
    const seen: number[] = [];
    for await (const item of track([1, 2, 3], options)) seen.push(item);
    expect(seen).toEqual([1, 2, 3]);
    expect(text()).toMatch(/^100% 3\/3 \[.*\]\n$/);
  });

  it("stops when the signal says so, and closes the bar", async () => {
    const { options, text } = fake(true);
    const abort = new AbortController();
    const seen: number[] = [];
    const work = (async () => {
      for await (const item of track([1, 2, 3], { ...options, signal: abort.signal })) {
        seen.push(item);
        if (item === 2) abort.abort(new Error("stop"));
      }
    })();
    await expect(work).rejects.toThrow("stop");
    expect(seen).toEqual([1, 2]);
    expect(text()).toMatch(/interrupted\]\x1b\[K\n$/);
  });
});
