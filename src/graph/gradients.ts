/** @file Reverse-mode differentiation: expressions in, expressions out. */
import { shapeText } from "./axis.ts";
import { GraphError } from "./errors.ts";
import type { NotDifferentiable, Operation } from "./operation.ts";
import { add, constant } from "./ops/elementwise.ts";
import { broadcastTo } from "./ops/shape.ts";
import { narrow } from "./rewrite/narrow.ts";
import { apply, type Tensor } from "./tensor.ts";
import { topological } from "./traverse.ts";

const isStop = (rule: Operation["gradient"]): rule is NotDifferentiable => typeof rule !== "function";

/**
 * The derivatives of a scalar with respect to tensors it is made of.
 *
 * The scalar is narrowed first (only the positions that matter to it are differentiated), with `wrt` kept whole, so a
 * derivative always has the full shape of its tensor.
 * @param scalar a float tensor of one element
 * @param wrt tensors in the scalar's ancestry: leaves, hook values, anything
 * @returns one expression per entry of `wrt`, of its shape
 * @throws GraphError when `scalar` does not depend on an entry, or only through operations without a derivative; the
 *   error names the path
 * @example
 * const x = leaf(new Float32Array([1, 2, 3]), [3]);
 * const [dx] = gradients(sum(mul(x, x)), [x]); // 2·x once realized
 */
export function gradients(scalar: Tensor, wrt: readonly Tensor[]): Tensor[] {
  if (scalar.shape.some((d) => d !== 1))
    throw new GraphError(`gradients: needs a scalar, got ${scalar.toString()}`, {
      code: "graph/not-scalar",
      hint: "sum it first",
    });
  const wanted = new Set(wrt);
  const [root] = narrow([scalar], wanted);
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
  return wrt.map((x) => total.get(x) ?? noGradient(scalar, root!, x, order, leads));
}

function noGradient(scalar: Tensor, root: Tensor, x: Tensor, order: readonly Tensor[], leads: Set<Tensor>): never {
  if (!order.includes(x) || !leads.has(root))
    throw new GraphError(`gradients: ${scalar.toString()} does not depend on ${x.toString()}`, {
      code: "graph/no-path",
      hint: "a hook may have replaced it, or it lies in another run",
    });
  const users = new Map<Tensor, Tensor>();
  for (const node of order)
    for (const input of node.inputs) if (!users.has(input) && leads.has(input)) users.set(input, node);
  const path: Tensor[] = [x];
  while (users.has(path.at(-1)!)) path.push(users.get(path.at(-1)!)!);
  const stop = path.find((node) => isStop(node.op.gradient) && node !== x);
  const reason =
    stop !== undefined && isStop(stop.op.gradient) ? `; ${stop.op.name}: ${stop.op.gradient.notDifferentiable}` : "";
  throw new GraphError(
    `gradients: no derivative reaches ${x.op.name}${shapeText(x.shape)}: ${path.map((n) => n.op.name).join(" → ")}${reason}`,
    { code: "graph/not-differentiable", where: stop?.toString() },
  );
}

let hooks = 0;

/**
 * The same value; when a gradient passes it, `onGradient` sees the gradient and may return another one.
 * Two calls give two tensors, even for one function.
 */
export function gradientHook(x: Tensor, onGradient: (gradient: Tensor) => Tensor | void): Tensor {
  const op: Operation = {
    name: `GradientHook${hooks++}`,
    infer: ([input]) => ({ shape: input!.shape, dtype: input!.dtype }),
    lower: ({ inputs }) => inputs[0]!,
    gradient: ({ gradient }) => [onGradient(gradient) ?? gradient],
    evaluate: ({ inputs }) => inputs[0]!.data,
    along: (_node, axis) => [axis],
    broadcasts: true,
    transparent: true,
  };
  return apply(op, [x], {});
}
