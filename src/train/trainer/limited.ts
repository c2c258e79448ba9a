/** @file The first batches of a source, each with whether it is the last. */
import type { Batches } from "./protocol.ts";

/** A batch with its place. */
export interface Placed<B> {
  readonly batch: B;
  readonly index: number;
  readonly last: boolean;
  /** How many there are; undefined before the last one where nobody has counted. */
  readonly total: number | undefined;
}

/** @param limit a number of batches, a part of them between 0 and 1, or −1 for all */
export async function* limited<B>(source: Batches<B>, limit: number): AsyncGenerator<Placed<B>> {
  if (limit === 0) return;
  if (limit > 0 && limit < 1) {
    const all: B[] = [];
    for await (const batch of source) all.push(batch);
    const total = Math.floor(all.length * limit);
    for (const [index, batch] of all.slice(0, total).entries())
      yield { batch, index, last: index === total - 1, total };
    return;
  }
  // One is looked ahead: the last one is to be known when it comes.
  let held: { readonly batch: B } | undefined;
  let index = 0;
  for await (const batch of source) {
    if (held !== undefined) yield { batch: held.batch, index: index++, last: false, total: undefined };
    held = { batch };
    if (limit > 0 && index + 1 >= limit) break;
  }
  if (held !== undefined) yield { batch: held.batch, index, last: true, total: index + 1 };
}
