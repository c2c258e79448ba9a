import { describe, expect, test } from "vitest";
import { formatBytes, Ledger } from "./ledger.ts";
import { memoryStatus, memoryStatusText } from "./memoryStatus.ts";

const entry = (owner: string, name: string, bytes: number, object = "Tensor (2)"): Parameters<Ledger["add"]>[0] => ({
  owner,
  name,
  object,
  device: "cpu",
  bytes,
});

describe("ledger", () => {
  test("adds up and gives back", () => {
    const ledger = new Ledger();
    const a = ledger.add(entry("model", "wte", 100));
    ledger.add(entry("model", "wpe", 20));
    expect(ledger.bytes).toBe(120);
    a.release();
    a.release();
    expect(ledger.bytes).toBe(20);
    expect(ledger.entries().map((e) => e.name)).toEqual(["wpe"]);
  });

  test("the same facts twice are two entries", () => {
    const ledger = new Ledger();
    const facts = entry("results", "Add", 8);
    const [a] = [ledger.add(facts), ledger.add(facts)];
    a.release();
    expect(ledger.bytes).toBe(8);
  });

  test("reports as the tutorials' table: a row for an owner of many, a row for each tensor besides, largest first", () => {
    const ledger = new Ledger();
    ledger.add(entry("results", "logits", 2_000_000_000, "Tensor (4, 15, 50257)"));
    ledger.add({ ...entry("gpt2", "wte", 3_000_000_000), kind: "HookedModel" });
    ledger.add({ ...entry("sae", "W_enc", 70_000_000), kind: "Sae", device: "gpu" });
    ledger.add({ ...entry("gpt2", "wpe", 4_504_000_000), kind: "HookedModel" });
    ledger.add(entry("results", "logits", 1_000_000, "Tensor (1, 15, 50257)"));
    expect(ledger.report()).toEqual([
      { Name: "gpt2", Object: "HookedModel", Device: "cpu", "Size (GB)": "7.50" },
      { Name: "logits", Object: "Tensor (4, 15, 50257)", Device: "cpu", "Size (GB)": "2.00" },
      { Name: "sae", Object: "Sae", Device: "gpu", "Size (GB)": "0.07" },
      { Name: "logits", Object: "Tensor (1, 15, 50257)", Device: "cpu", "Size (GB)": "0.00" },
    ]);
    expect(ledger.report({ top: 1 }).map((row) => row.Name)).toEqual(["gpt2"]);
    expect(ledger.report({ device: "gpu" }).map((row) => row.Name)).toEqual(["sae"]);
    expect(ledger.rows()[0]).toEqual({ name: "gpt2", object: "HookedModel", device: "cpu", bytes: 7_504_000_000 });
  });

  test("status: what the process has and what is left, GB with two decimals", () => {
    const { allocated, total, free } = memoryStatus();
    expect(free).toBe(total - allocated);
    expect(allocated).toBeGreaterThan(1e7);
    expect(memoryStatusText({ allocated: 35.879e9, total: 39.56e9, free: 3.681e9 })).toBe(
      "Allocated = 35.88 GB\nTotal = 39.56 GB\nFree = 3.68 GB",
    );
  });

  test("bytes for people", () => {
    expect([0, 999, 1000, 1_234_567, 5e9, 7e15].map(formatBytes)).toEqual([
      "0 B",
      "999 B",
      "1.00 kB",
      "1.23 MB",
      "5.00 GB",
      "7000.00 TB",
    ]);
  });
});
