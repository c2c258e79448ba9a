import { expect } from "vitest";

interface Close {
  /** Largest absolute difference, relative to max(1, |expected|), is at most `tolerance` (default 1e-4). */
  toBeAllClose(expected: ArrayLike<number>, tolerance?: number): void;
  /** Largest absolute difference, relative to the largest expected entry, is at most `tolerance` (default 1e-4). */
  toBeCloseToLargest(expected: ArrayLike<number>, tolerance?: number): void;
}
declare module "vitest" {
  interface Matchers<T> extends Close {
    readonly __assertion?: T;
  }
}

/** The largest difference in units of `scale(expected)`; equal infinities are equal, NaN is no number's equal. */
function furthest(
  received: ArrayLike<number>,
  expected: ArrayLike<number>,
  scale: (x: number) => number,
): { worst: number; at: number } {
  let worst = 0;
  let at = -1;
  for (let i = 0; i < expected.length; i++) {
    const a = received[i]!;
    const b = expected[i]!;
    if (a === b) continue;
    const error = Math.abs(a - b) / scale(b);
    if (!(error <= worst)) [worst, at] = [Number.isNaN(error) ? Infinity : error, i];
  }
  return { worst, at };
}

function verdict(
  received: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  scale: (x: number) => number,
): { pass: boolean; message: () => string } {
  if (received.length !== expected.length)
    return { pass: false, message: () => `lengths differ: received ${received.length}, expected ${expected.length}` };
  const { worst, at } = furthest(received, expected, scale);
  const message = (): string =>
    `largest difference ${worst}, tolerance ${tolerance}, at index ${at}: received ${received[at]}, expected ${expected[at]}`;
  return { pass: worst <= tolerance, message };
}

expect.extend({
  toBeCloseToLargest(received: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-4) {
    let largest = 0;
    for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));
    return verdict(received, expected, tolerance, () => largest);
  },
  toBeAllClose(received: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-4) {
    return verdict(received, expected, tolerance, (x) => Math.max(1, Math.abs(x)));
  },
});
