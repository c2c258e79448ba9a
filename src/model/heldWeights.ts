/** @file Weights in memory: who holds them, and how they are given back. */
import type { Tensor } from "../graph/tensor.ts";
import { memory, releaseWith } from "../runtime/ledger.ts";

/**
 * Puts the leaves among a model's weights into the memory ledger. They leave it when they are given back, and when nobody
 * holds their data any more.
 * @param owner the model's name
 * @returns gives the weights back: they have no data afterwards
 */
export function holdWeights(owner: string, weights: Iterable<readonly [name: string, weight: Tensor]>): () => void {
  const held = [...weights].flatMap(([name, { storage }]) => {
    const data = storage?.data;
    if (storage === undefined || data === undefined) return [];
    const object = `Tensor (${storage.dims.join(", ")})`;
    const handle = memory.add({ owner, kind: "HookedModel", name, object, device: "cpu", bytes: data.byteLength });
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
