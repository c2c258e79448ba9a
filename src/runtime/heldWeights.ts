/** @file Weights in memory: who holds them, and how they are given back. */
import type { Tensor } from "../graph/tensor.ts";
import { memory, releaseWith, type LedgerEntry } from "./ledger.ts";

/**
 * Puts the leaves among some weights into the memory ledger. They leave it when they are given back, and when nobody holds
 * their data any more.
 * @param holder what the ledger calls whom they belong to
 * @returns gives the weights back: they have no data afterwards
 */
export function holdWeights(
  holder: Pick<LedgerEntry, "owner" | "kind">,
  weights: Iterable<readonly [name: string, weight: Tensor]>,
): () => void {
  const held = [...weights].flatMap(([name, { storage }]) => {
    const data = storage?.data;
    if (storage === undefined || data === undefined) return [];
    const object = `Tensor (${storage.dims.join(", ")})`;
    const handle = memory.add({ ...holder, name, object, device: "cpu", bytes: data.byteLength });
    releaseWith(data, handle);
    return [{ storage, handle }];
  });
  return () => {
    for (const { storage, handle } of held) {
      handle.release();
      storage.data = undefined;
    }
  };
}
