import { expect } from "vitest";

interface Close {
  /** Largest absolute difference, relative to max(1, |expected|), is at most `tolerance` (default 1e-4). */
  toBeAllClose(expected: ArrayLike<number>, tolerance?: number): void;
}
declare module "vitest" {
  interface Matchers<T> extends Close {
    readonly __assertion?: T;
  }
}

expect.extend({
  toBeAllClose(received: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-4) {
    if (received.length !== expected.length)
      return { pass: false, message: () => `lengths differ: received ${received.length}, expected ${expected.length}` };
    let worst = 0;
    let at = -1;
    for (let i = 0; i < expected.length; i++) {
      const a = received[i]!;
      const b = expected[i]!;
      if (Object.is(a, b) || a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
      const error = Math.abs(a - b) / Math.max(1, Math.abs(b));
      if (!(error <= worst)) [worst, at] = [Number.isNaN(error) ? Infinity : error, i];
    }
    return {
      pass: worst <= tolerance,
      message: () => `largest difference ${worst} > ${tolerance} at index ${at}: received ${received[at]}, expected ${expected[at]}`,
    };
  },
});
