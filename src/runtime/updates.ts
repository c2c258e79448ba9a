/** @file Leaves that change: second buffers, written in a run and exchanged after it. */
import { dtypes, type DataArray } from "../graph/dtype.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Buffer } from "./backend.ts";
import { RuntimeError } from "./errors.ts";
import { memory, releaseWith } from "./ledger.ts";

/** What leaves are to hold next. A value has the shape and the type of its leaf, and known sizes. */
export type Updates = ReadonlyMap<Tensor, Tensor>;

/** The second buffer of each leaf that is updated. */
const spares = new WeakMap<Tensor, DataArray>();

export interface UpdateTarget {
  readonly target: Tensor;
  readonly value: Tensor;
}

export function updateTargets(updates: Updates): UpdateTarget[] {
  return [...updates].map(([target, value]) => {
    const { storage } = target;
    const fits = storage?.role === "data" && storage.dims.length === value.rank;
    if (!fits || value.dtype !== target.dtype || value.shape.some((dim, i) => dim !== storage.dims[i]))
      throw new RuntimeError("a leaf cannot be updated with this value", {
        code: "runtime/update",
        where: target.label,
        expected: storage?.role === "data" ? `a value of ${target.label}` : "a leaf of data, not of a weight",
        received: value.label,
      });
    return { target, value };
  });
}

/** The buffers that are written in the next run, by the number of the output. */
export function secondBuffers(targets: readonly UpdateTarget[], first: number, device: string): Map<number, Buffer> {
  return new Map(
    targets.map(({ target }, i) => {
      const { dims, data } = target;
      let spare = spares.get(target);
      if (spare === undefined) {
        spare = new dtypes[target.dtype].array(data.length);
        spares.set(target, spare);
        const object = `Tensor (${dims.join(", ")})`;
        const entry = { owner: "updates", kind: "second buffers", name: target.storage!.name, object, device };
        releaseWith(target, memory.add({ ...entry, bytes: spare.byteLength }));
      }
      return [first + i, { dims, data: spare }];
    }),
  );
}

/** Puts what was written in place of what was read. */
export function exchange(targets: readonly UpdateTarget[]): void {
  for (const { target } of targets) {
    const next = spares.get(target)!;
    spares.set(target, target.data);
    target.storage!.data = next;
  }
}
