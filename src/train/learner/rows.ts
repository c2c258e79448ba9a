/** @file Small tensors end to end, so that one operator serves them all. */
import { concat, reshape, slice, type Tensor } from "../../graph/index.ts";

/** Entries up to which an operator costs more than its arithmetic. */
export const smallParameter: number = 1 << 16;

/** Tensors end to end; one alone as it is. */
export const joined = (parts: readonly Tensor[]): Tensor =>
  parts.length === 1
    ? parts[0]!
    : concat(
        parts.map((x) => reshape(x, [-1])),
        0,
      );

/** The parts of a joined tensor, in the shapes of what was joined. */
export function parted(row: Tensor, like: readonly Tensor[]): readonly Tensor[] {
  if (like.length === 1) return [row];
  let end = 0;
  return like.map((x) => reshape(slice(row, 0, end, (end += x.data.length)), x.shape));
}
