/** @file Narrowing: where everybody needs only some positions of a value, compute only those. */
import { sameDim, type Dim } from "../axis.ts";
import { operations } from "../ops/table.ts";
import { reshape } from "../ops/shape.ts";
import { apply, type Tensor } from "../tensor.ts";
import { topological, withInputs } from "../traverse.ts";

/**
 * Which entries of a tensor are needed: those that one selecting operation (`Slice` or `TakeRows`) picks along `axis`.
 * For TakeRows the list differs from one entry of `batchAxis` to the next.
 */
interface Selection {
  readonly kind: "Slice" | "TakeRows";
  readonly axis: number;
  readonly batchAxis: number;
  readonly index: Tensor | undefined;
  readonly start: Dim;
  readonly end: Dim;
  /** The operand lacks the batch axis: `axis` and `batchAxis` are its user's, and it is selected at that use. */
  readonly detached?: true;
}

type Demand = Selection | "all";

/** Whether taking `count` of `size` entries is known to leave fewer. */
const shrinks = (count: Dim, size: Dim): boolean =>
  typeof count === "number" && (typeof size !== "number" || count < size);

function selectionOf(node: Tensor): Selection | undefined {
  const { axis, batchAxis, start, end } = node.attributes as { [name: string]: Dim };
  if (node.op === operations.Slice)
    return { kind: "Slice", axis: axis as number, batchAxis: -1, index: undefined, start: start!, end: end! };
  if (node.op !== operations.TakeRows) return undefined;
  const [x, index] = node.inputs as [Tensor, Tensor];
  if (x.shape[batchAxis as number] !== 1 && shrinks(index.shape[1]!, x.shape[axis as number]!))
    return {
      kind: "TakeRows",
      axis: axis as number,
      batchAxis: batchAxis as number,
      index,
      start: 0,
      end: 0,
    };
  return undefined;
}

const sameSelection = (a: Selection, b: Selection): boolean =>
  a.kind === b.kind &&
  a.axis === b.axis &&
  a.batchAxis === b.batchAxis &&
  a.index === b.index &&
  sameDim(a.start, b.start) &&
  sameDim(a.end, b.end);

function applySelection(x: Tensor, s: Selection): Tensor {
  return s.kind === "Slice"
    ? apply(operations.Slice, [x], { axis: s.axis, start: s.start, end: s.end })
    : apply(operations.TakeRows, [x, s.index!], { axis: s.axis, batchAxis: s.batchAxis });
}

/** The selection in terms of each input, null where the input is taken as it is; undefined where it cannot be pushed. */
function push(node: Tensor, s: Selection): (Selection | null)[] | undefined {
  if (node.inputs.length === 0 || node.op.host) return undefined;
  const along = node.op.along(node, s.axis, node.attributes);
  if (along === undefined || along.every((a) => a === null)) return undefined;
  if (s.kind === "Slice") return along.map((axis) => (axis === null ? null : { ...s, axis }));
  const batch = node.op.along(node, s.batchAxis, node.attributes);
  if (batch === undefined) return undefined;
  const pushed: (Selection | null)[] = [];
  for (let i = 0; i < along.length; i++) {
    const axis = along[i]!;
    if (axis === null) pushed.push(null);
    else if (batch[i] !== null) pushed.push({ ...s, axis, batchAxis: batch[i]! });
    else if (node.op.broadcasts) pushed.push({ ...s, detached: true });
    else return undefined;
  }
  return pushed;
}

/** Selects from an operand that lacks the batch axis, aligned to its user by axes of size 1. */
function takeDetached(x: Tensor, s: Selection, user: Tensor): Tensor {
  return applySelection(reshape(x, [...new Array<Dim>(user.rank - x.rank).fill(1), ...x.shape]), s);
}

/**
 * The same values computed from fewer positions. From the outputs down, each value learns what its users need; where
 * all need the same selection, everything that works position by position is rebuilt for it. Outputs are whole, also
 * where another output needs only a part of them.
 */
export function narrow(outputs: readonly Tensor[]): Tensor[] {
  const order = topological(outputs);
  if (!order.some((node) => selectionOf(node) !== undefined)) return [...outputs];

  const demands = new Map<Tensor, Demand>();
  const need = (x: Tensor, demand: Demand): void => {
    const known = demands.get(x);
    if (known === undefined) demands.set(x, demand);
    else if (known !== "all" && (demand === "all" || !sameSelection(known, demand))) demands.set(x, "all");
  };
  for (const x of outputs) need(x, "all");
  const plans = new Map<Tensor, (Selection | null)[]>();
  for (const node of order.toReversed()) {
    const demand = demands.get(node) ?? "all";
    const own = selectionOf(node);
    if (own !== undefined) {
      need(node.inputs[0]!, own);
      for (const x of node.inputs.slice(1)) need(x, "all");
      continue;
    }
    const plan = demand === "all" ? undefined : push(node, demand);
    if (plan === undefined) {
      for (const x of node.inputs) need(x, "all");
      continue;
    }
    plans.set(node, plan);
    node.inputs.forEach((x, i) => need(x, plan[i] === null || plan[i]!.detached ? "all" : plan[i]!));
  }

  // `whole` holds full values; `narrowed` those computed for their demanded selection only.
  const whole = new Map<Tensor, Tensor>();
  const narrowed = new Map<Tensor, Tensor>();
  const take = (x: Tensor, s: Selection, user: Tensor): Tensor => {
    if (s.detached) return takeDetached(whole.get(x)!, s, user);
    const demand = demands.get(x)!;
    if (demand !== "all" && narrowed.has(x)) return narrowed.get(x)!;
    return applySelection(whole.get(x)!, s);
  };
  for (const node of order) {
    const own = selectionOf(node);
    const plan = plans.get(node);
    if (plan !== undefined) {
      const demand = demands.get(node) as Selection;
      const inputs = node.inputs.map((x, i) => (plan[i] === null ? whole.get(x)! : take(x, plan[i]!, node)));
      narrowed.set(node, rebuildNarrow(node, inputs, demand));
      continue;
    }
    const made =
      own !== undefined
        ? take(node.inputs[0]!, own, node)
        : withInputs(
            node,
            node.inputs.map((x) => whole.get(x)!),
          );
    whole.set(node, made);
    const demand = demands.get(node)!;
    if (demand !== "all") narrowed.set(node, applySelection(made, demand));
  }
  return outputs.map((x) => whole.get(x)!);
}

/** The node over narrowed inputs; attributes that spell a shape follow the narrowed axis. */
function rebuildNarrow(node: Tensor, inputs: readonly Tensor[], s: Selection): Tensor {
  const { shape } = node.attributes;
  if (!Array.isArray(shape)) return apply(node.op, inputs, node.attributes);
  const size = s.kind === "Slice" ? selectedSize(node, s) : s.index!.shape[1]!;
  return apply(node.op, inputs, {
    ...node.attributes,
    shape: (shape as Dim[]).map((d, i) => (i === s.axis ? size : d)),
  });
}

function selectedSize(node: Tensor, s: Selection): Dim {
  return operations.Slice.infer([node], { axis: s.axis, start: s.start, end: s.end }).shape[s.axis]!;
}
