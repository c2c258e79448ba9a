/** @file Reverse-mode differentiation: expressions in, expressions out. */
import { dtypes } from "./dtype.ts";
import { GraphError } from "./errors.ts";
import type { NotDifferentiable, Operation } from "./operation.ts";
import { add } from "./ops/binary.ts";
import { broadcastTo } from "./ops/shape.ts";
import { constant } from "./ops/values.ts";
import { narrow } from "./rewrite/narrow.ts";
import { apply, type Tensor } from "./tensor.ts";
import { topological } from "./traverse.ts";

const isStop = (rule: Operation["gradient"]): rule is NotDifferentiable => typeof rule !== "function";

/**
 * The derivatives of a scalar with respect to tensors it is made of.
 *
 * The scalar is narrowed first (only the positions that matter to it are differentiated), with `wrt` kept whole, so a
 * derivative always has the full shape of its tensor and every path to it counts.
 * @param scalar a float tensor of one element
 * @param wrt tensors in the scalar's ancestry: leaves, hook values, anything
 * @returns one expression per entry of `wrt`, of its shape
 * @throws GraphError when `scalar` does not depend on an entry, or only through operations without a derivative; the
 *   error names the path
 * @example
 * const x = leaf(new Float32Array([1, 2, 3]), [3]);
 * const [dx] = gradients(sum(mul(x, x)), [x]);
 * (await realize(dx!)).toArray(); // [2, 4, 6]
 */
export function gradients(scalar: Tensor, wrt: readonly Tensor[]): Tensor[] {
  if (scalar.shape.some((d) => d !== 1))
    throw new GraphError(`gradients: needs a scalar, got ${scalar.label}`, {
      code: "graph/not-scalar",
      hint: "sum it first",
    });
  if (dtypes[scalar.dtype].kind !== "float")
    throw new GraphError(`gradients: needs a floating-point scalar, got ${scalar.label}`, {
      code: "graph/dtype",
      hint: "cast it to float32",
    });
  const watched = topological([scalar]).filter((x) => x.op.watched);
  const [root, ...whole] = narrow([scalar, ...wrt, ...watched]);
  const kept = whole.slice(0, wrt.length);
  const wanted = new Set(kept);
  const order = topological([root!]);
  const leads = new Set<Tensor>();
  for (const node of order) if (wanted.has(node) || node.inputs.some((x) => leads.has(x))) leads.add(node);

  const total = new Map<Tensor, Tensor>();
  total.set(root!, broadcastTo(constant(1, root!.dtype), root!.shape));
  for (const node of order.toReversed()) {
    const gradient = total.get(node);
    if (gradient === undefined || !node.inputs.some((x) => leads.has(x))) continue;
    const rule = node.op.gradient;
    if (isStop(rule)) continue;
    const needs = (i: number): boolean => leads.has(node.inputs[i]!);
    const parts = rule({ inputs: node.inputs, output: node, gradient, attributes: node.attributes, needs });
    parts.forEach((part, i) => {
      const input = node.inputs[i]!;
      if (part === undefined || !leads.has(input)) return;
      const known = total.get(input);
      total.set(input, known === undefined ? part : add(known, part));
    });
  }
  return kept.map((x, i) => total.get(x) ?? noGradient(scalar, wrt[i]!, x, order, leads, total));
}

function noGradient(
  scalar: Tensor,
  asked: Tensor,
  x: Tensor,
  order: readonly Tensor[],
  leads: ReadonlySet<Tensor>,
  total: ReadonlyMap<Tensor, Tensor>,
): never {
  if (!order.includes(x))
    throw new GraphError(`gradients: ${scalar.label} does not depend on ${asked.label}`, {
      code: "graph/no-path",
      hint: "a hook may have replaced it, or it lies in another run",
    });
  const users = new Map<Tensor, Tensor>();
  for (const node of order)
    for (const input of node.inputs) if (!users.has(input) && leads.has(input)) users.set(input, node);
  const path = [x];
  for (let user = users.get(x); user !== undefined; user = users.get(user)) path.push(user);
  const stop = path.find((node) => total.has(node))!;
  const reason = isStop(stop.op.gradient) ? stop.op.gradient.notDifferentiable : "it has no derivative in this input";
  throw new GraphError(
    `gradients: no derivative reaches ${asked.label} by ${path.map((n) => n.op.name).join(" → ")}: ${stop.op.name} stops it, ${reason}`,
    { code: "graph/not-differentiable", where: stop.label },
  );
}

let hooks = 0;

/**
 * The same value; when a gradient passes it, `onGradient` sees the gradient and may return another one.
 * Two calls give two tensors, even for one function.
 * @example
 * const x = leaf(Float32Array.of(1, 2), [2]);
 * const [dx] = gradients(sum(gradientHook(x, (gradient) => mul(gradient, 10))), [x]);
 * (await realize(dx!)).toArray(); // [10, 10]
 */
export function gradientHook(x: Tensor, onGradient: (gradient: Tensor) => Tensor | void): Tensor {
  const op: Operation = {
    name: `GradientHook${hooks++}`,
    infer: ([input]) => ({ shape: input!.shape, dtype: input!.dtype }),
    lower: ({ inputs }) => inputs[0]!,
    gradient: ({ gradient }) => [onGradient(gradient) ?? gradient],
    evaluate: ({ inputs }) => inputs[0]!.data,
    // The hook is shown the gradient of the whole value.
    along: () => undefined,
    transparent: true,
    watched: true,
  };
  return apply(op, [x], {});
}

const branchOperation: Operation<{ readonly label: string }> = {
  name: "Branch",
  infer: ([input]) => ({ shape: input!.shape, dtype: input!.dtype }),
  lower: ({ inputs }) => inputs[0]!,
  gradient: ({ gradient }) => [gradient],
  evaluate: ({ inputs }) => inputs[0]!.data,
  along: (_node, axis) => [axis],
  broadcasts: true,
  transparent: true,
};

/**
 * The same value as a tensor of its own, so that a derivative by it is that of its own uses only. Branches of one tensor
 * with one label are one tensor.
 * @example
 * const x = leaf(new Float32Array([1, 2, 3]), [3]);
 * const own = branch(x, "left");
 * const [dOwn] = gradients(sum(mul(own, x)), [own]); // x once realized; by x itself it is 2·x
 */
export const branch = (x: Tensor, label: string): Tensor => apply(branchOperation, [x], { label });

/**
 * `x` in the place of `original`, where `x` was computed outside the graph: a derivative that would have to go on into
 * `original` throws what `error` makes, instead of silently missing that part.
 * @example
 * const x = leaf(Float32Array.of(2), []);
 * const y = severed(mul(x, 1), x, () => new Error("y was computed elsewhere"));
 * (await realize(add(y, 1))).item(); // 3
 */
export function severed(x: Tensor, original: Tensor, error: () => Error): Tensor {
  const op: Operation = {
    name: `Severed${hooks++}`,
    infer: ([input]) => ({ shape: input!.shape, dtype: input!.dtype }),
    lower: ({ inputs }) => inputs[0]!,
    gradient: ({ gradient, needs }) => {
      if (needs(1)) throw error();
      return [gradient, undefined];
    },
    evaluate: ({ inputs }) => inputs[0]!.data,
    along: (_node, axis) => [axis, axis],
    broadcasts: true,
    transparent: true,
  };
  return apply(op, [x, original], {});
}
