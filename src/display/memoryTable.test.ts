import { expect, it } from "vitest";
import { memory } from "../runtime/index.ts";
import { memoryTable } from "./memoryTable.ts";

it("lists what is held, largest first, of one device", () => {
  const held = [
    memory.add({
      owner: "gpt2",
      kind: "HookedModel",
      name: "a",
      object: "Tensor (2)",
      device: "elsewhere",
      bytes: 3e9,
    }),
    memory.add({
      owner: "gpt2",
      kind: "HookedModel",
      name: "b",
      object: "Tensor (3)",
      device: "elsewhere",
      bytes: 1.5e9,
    }),
    memory.add({ owner: "mine", name: "acts", object: "Tensor (4, 15)", device: "elsewhere", bytes: 5.7e9 }),
  ];
  const table = memoryTable({ device: "elsewhere" });
  expect(table.rows).toEqual([
    ["acts", "Tensor (4, 15)", "elsewhere", 5.7],
    ["gpt2", "HookedModel", "elsewhere", 4.5],
  ]);
  expect(String(table)).toMatch(/Allocated = \d+\.\d\d GB\nTotal = \d+\.\d\d GB\nFree = \d+\.\d\d GB\n\+-/);
  expect(memoryTable({ device: "elsewhere", top: 1 }).rows.length).toBe(1);
  for (const handle of held) handle.release();
});
