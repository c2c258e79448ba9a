import { describe, expect, test } from "vitest";
import { formatBytes, Ledger } from "./ledger.ts";

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

  test("reports by owner, largest first, as the tutorials' table", () => {
    const ledger = new Ledger();
    ledger.add(entry("sae", "W_enc", 5_000_000, "Tensor (768, 24576)"));
    ledger.add(entry("model", "wte", 3_000_000));
    ledger.add(entry("model", "wpe", 4_500_000));
    expect(ledger.report()).toEqual([
      { Name: "model", Object: "2 buffers", Device: "cpu", Size: "7.50 MB" },
      { Name: "sae", Object: "Tensor (768, 24576)", Device: "cpu", Size: "5.00 MB" },
    ]);
  });

  test("reports by entry", () => {
    const ledger = new Ledger();
    ledger.add(entry("model", "small", 10));
    ledger.add(entry("model", "large", 2_000));
    expect(ledger.report({ by: "entry" }).map((row) => [row.Name, row.Size])).toEqual([
      ["model.large", "2.00 kB"],
      ["model.small", "10 B"],
    ]);
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
