import { describe, expect, it } from "vitest";
import { Registry } from "./registry.ts";

describe("the bundled registry", () => {
  it("has the tutorials' entries, under old and new keys", async () => {
    const registry = await Registry.bundled();
    expect(registry.list().map(({ key }) => key)).toEqual([
      "rte_demo.gpt2.core",
      "rte_demo.gpt2.sae_lens",
      "rte_demo.gpt2.transformer_lens",
    ]);
    expect(registry.get("gpt2.rte_demo.sae_lens").key).toBe("rte_demo.gpt2.sae_lens");
  });
});
