/** @file What a piece of work asks the platform for. */

const names = [
  "ArrayBuffer",
  "Uint8Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float32Array",
  "Float64Array",
] as const;

/**
 * The bytes of the largest buffer that is made by length while the work runs, by code that looks constructors up when it runs,
 * and the error if it fails.
 */
export async function largestAllocation(work: () => Promise<void>): Promise<number> {
  let largest = 0;
  const own = names.map((name) => [name, globalThis[name]] as const);
  for (const [name, constructor] of own) {
    const unit = "BYTES_PER_ELEMENT" in constructor ? constructor.BYTES_PER_ELEMENT : 1;
    const watched = new Proxy(constructor, {
      construct(target, args: unknown[]) {
        if (typeof args[0] === "number") largest = Math.max(largest, args[0] * unit);
        return Reflect.construct(target, args) as object;
      },
    });
    Reflect.set(globalThis, name, watched);
  }
  try {
    await work();
  } finally {
    for (const [name, constructor] of own) Reflect.set(globalThis, name, constructor);
  }
  return largest;
}
