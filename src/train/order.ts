/** @file The order of examples in an epoch, from a seed. */
import { uniformAt } from "../graph/index.ts";

/**
 * A permutation of 0 … n − 1 for an epoch: a function of the seed and the epoch only (Fisher and Yates).
 * @example
 * shuffledOrder(4, { seed: 0, epoch: 0 }).length; // 4
 */
export function shuffledOrder(
  n: number,
  { seed, epoch }: { readonly seed: number; readonly epoch: number },
): readonly number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    // Every epoch has counters of its own; 24 bits of a number are enough for a place among 2³².
    const wide = uniformAt(seed, epoch * 2 ** 32 + 2 * i) + uniformAt(seed, epoch * 2 ** 32 + 2 * i + 1) * 2 ** -24;
    const j = Math.floor((wide % 1) * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
