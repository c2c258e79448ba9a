/** @file The lazy, immutable, interned tensor, and the one function that makes nodes of it. */
import { atomOf, shapeText, type Dim } from "./axis.ts";
import { dtypes, type DataArray, type DType } from "./dtype.ts";
import { GraphError } from "./errors.ts";
import { namedShape } from "./namedShape.ts";
import { inspectAs } from "./inspect.ts";
import { Expressions } from "./intern.ts";
import type { Attributes, Operation } from "./operation.ts";
import { add, div, mul, sub } from "./ops/binary.ts";
import { matmul } from "./ops/matmul.ts";
import { select, slice } from "./ops/parts.ts";
import { argMax, max, mean, sum, type ReduceOptions } from "./ops/reduce.ts";
import { softmax } from "./ops/rowwise.ts";
import { reshape, transpose } from "./ops/shape.ts";
import { detach, neg } from "./ops/unary.ts";
import { cast } from "./ops/values.ts";

/** Data behind a leaf: a typed array with its concrete dimensions. Disposal drops the array. */
export interface Storage {
  readonly dims: readonly number[];
  /** Undefined for arguments, and once disposed. */
  data: DataArray | undefined;
  /** What errors, the ledger and `memory.report()` call it. */
  readonly name: string;
  /** Weights are fed or packed by policy; data is always fed; arguments are the placeholders of `compile`. */
  readonly role: "weight" | "data" | "argument";
  /** Names of fixed sizes, for errors: `{ d_model: 768 }`. */
  readonly sizes?: SizeNames;
}

/** What fixed sizes are called: `{ d_model: 768, d_mlp: 3072 }`. */
export interface SizeNames {
  readonly [name: string]: number;
}

let ids = 0;

/**
 * A lazy, immutable expression with a shape and a dtype. Building one computes nothing; `realize` does. A leaf holds
 * data (weights, tokens, results). Building the same expression twice gives the same object.
 * @example
 * const x = leaf(Float32Array.of(1, 2), [2]);
 * const y = x.mul(2).add(1);
 * (await realize(y)).toArray(); // [3, 5]
 */
export class Tensor {
  readonly id: number = ids++;
  readonly op: Operation;
  readonly inputs: readonly Tensor[];
  readonly attributes: Attributes;
  readonly shape: readonly Dim[];
  readonly dtype: DType;
  /** Leaves only. @internal */
  readonly storage: Storage | undefined;
  /** Expressions of which it is the newest input. @internal */
  users: Expressions | undefined = undefined;
  /** Made of weights and constants only, of known size: its value never changes. @internal */
  readonly fixed: boolean;

  /** @internal use {@link apply} or {@link leaf} */
  constructor(
    op: Operation,
    inputs: readonly Tensor[],
    attributes: Attributes,
    shape: readonly Dim[],
    dtype: DType,
    storage?: Storage,
  ) {
    this.op = op;
    this.inputs = inputs;
    this.attributes = attributes;
    this.shape = shape;
    this.dtype = dtype;
    this.storage = storage;
    this.fixed = storage !== undefined ? storage.role === "weight" : isFixed(op, inputs, shape);
  }

  get rank(): number {
    return this.shape.length;
  }

  /** The numbers of a realized tensor, row-major in its own dtype. Throws on an expression that has not been computed. */
  get data(): DataArray {
    if (this.storage === undefined)
      throw new GraphError(`this tensor is an expression, not data: ${this.label}`, {
        code: "graph/unrealized",
        hint: "await realize(tensor), or return it from model.run",
      });
    if (this.storage.data === undefined)
      throw this.storage.role === "argument"
        ? new GraphError(`${this.storage.name} is a placeholder and has no data`, {
            code: "graph/placeholder",
            hint: "it gets data when the function that was compiled over it is called",
          })
        : new GraphError(`the data of ${this.storage.name} has been disposed, or has not been read`, {
            code: "graph/disposed",
            hint: "a model loaded with stopAtLayer or headersOnly has not read all of its weights",
          });
    return this.storage.data;
  }

  /** The concrete dimensions of a realized tensor. */
  get dims(): readonly number[] {
    void this.data;
    return this.storage!.dims;
  }

  /** The numbers of a realized tensor as float64 (int64 must be below 2^53). */
  toArray(): number[] {
    return Array.from(this.data as ArrayLike<number | bigint>, Number);
  }

  /** The one number of a realized scalar. */
  item(): number {
    if (this.data.length !== 1)
      throw new GraphError(`item() is for tensors of one element; got shape ${namedShape(this)}`, {
        code: "graph/not-scalar",
      });
    return Number(this.data[0]);
  }

  // The everyday functions as methods, so that a formula reads from left to right.
  add(y: Tensor | number): Tensor {
    return add(this, y);
  }
  sub(y: Tensor | number): Tensor {
    return sub(this, y);
  }
  mul(y: Tensor | number): Tensor {
    return mul(this, y);
  }
  div(y: Tensor | number): Tensor {
    return div(this, y);
  }
  neg(): Tensor {
    return neg(this);
  }
  matmul(y: Tensor, options?: { transposeA?: boolean; transposeB?: boolean }): Tensor {
    return matmul(this, y, options);
  }
  sum(axes?: number | readonly number[], options?: ReduceOptions): Tensor {
    return sum(this, axes, options);
  }
  mean(axes?: number | readonly number[], options?: ReduceOptions): Tensor {
    return mean(this, axes, options);
  }
  max(axes?: number | readonly number[], options?: ReduceOptions): Tensor {
    return max(this, axes, options);
  }
  argMax(axis?: number): Tensor {
    return argMax(this, axis);
  }
  softmax(axis?: number): Tensor {
    return softmax(this, axis);
  }
  reshape(shape: readonly Dim[]): Tensor {
    return reshape(this, shape);
  }
  transpose(perm?: readonly number[]): Tensor {
    return transpose(this, perm);
  }
  slice(axis: number, start: Dim, end?: Dim): Tensor {
    return slice(this, axis, start, end);
  }
  select(axis: number, index: number): Tensor {
    return select(this, axis, index);
  }
  cast(to: DType): Tensor {
    return cast(this, to);
  }
  detach(): Tensor {
    return detach(this);
  }

  /** Name, shape and dtype, for errors: `MatMul[batch, 768]:float32`. @internal */
  get label(): string {
    return `${this.storage?.name ?? this.op.name}${shapeText(this.shape)}:${this.dtype}`;
  }

  /** Shape and dtype, with the first values where there are any. */
  toString(): string {
    if (this.storage?.data === undefined) return `Tensor(${this.label})`;
    const { data, dims, dtype } = this;
    const shown = Array.from(data.subarray(0, 8) as ArrayLike<number | bigint>, (x) =>
      Number(Number(x).toPrecision(6)),
    );
    return `Tensor(${shapeText(dims)}:${dtype} ${shown.join(", ")}${data.length > 8 ? ", …" : ""})`;
  }

  /**
   * The numbers of a realized tensor as nested lists; of a scalar, its number. Throws on an expression that has not been
   * computed.
   */
  toJSON(): NestedNumbers {
    return nested(this.toArray(), this.dims);
  }

  static {
    inspectAs(this, String);
  }
}

/** Numbers in lists of lists, one level for each dimension. */
export type NestedNumbers = number | readonly NestedNumbers[];

function nested(numbers: readonly number[], [size, ...inner]: readonly number[], from: number = 0): NestedNumbers {
  if (size === undefined) return numbers[from]!;
  const step = inner.reduce((a, b) => a * b, 1);
  return Array.from({ length: size }, (_, i) => nested(numbers, inner, from + i * step));
}

function isFixed(op: Operation, inputs: readonly Tensor[], shape: readonly Dim[]): boolean {
  if (op.host || inputs.length === 0 || !shape.every((d) => typeof d === "number")) return false;
  return inputs.some((x) => x.fixed) && inputs.every((x) => x.fixed || x.op.name === "Constant");
}

/** Constants, ranges, sizes: what is made of nothing. */
const withoutInputs = new Expressions();

/**
 * The node of an operation over inputs: checks shapes, and returns the one object that stands for this expression.
 * @throws GraphError naming the operation and the shapes
 */
export function apply<A extends Attributes>(op: Operation<A>, inputs: readonly Tensor[], attributes: A): Tensor {
  let newest: Tensor | undefined;
  for (const x of inputs) if (newest === undefined || x.id > newest.id) newest = x;
  const users = newest === undefined ? withoutInputs : (newest.users ??= new Expressions());
  const known = users.find(op, inputs, attributes);
  if (known !== undefined) return known;
  const { shape, dtype } = op.infer(inputs, attributes);
  const made = new Tensor(op, inputs, attributes, shape, dtype);
  users.add(made);
  return made;
}

/**
 * The same operation over other inputs of the same shapes, as an object of its own: for rewrites that come last, after
 * which nothing is looked for any more.
 */
export function remade(node: Tensor, inputs: readonly Tensor[]): Tensor {
  if (inputs.every((x, i) => x === node.inputs[i])) return node;
  if (node.fixed) return apply(node.op, inputs, node.attributes);
  return new Tensor(node.op, inputs, node.attributes, node.shape, node.dtype);
}

/** The operation of leaves: data comes from outside. */
const leafOperation: Operation = {
  name: "Leaf",
  infer: () => {
    throw new GraphError("a leaf is not computed", { code: "graph/internal" });
  },
  lower: () => {
    throw new GraphError("a leaf is not lowered", { code: "graph/internal" });
  },
  gradient: { notDifferentiable: "a leaf has no inputs" },
  evaluate: () => {
    throw new GraphError("a leaf is not evaluated", { code: "graph/internal" });
  },
  along: () => undefined,
};

export interface LeafOptions {
  /** Symbolic shape; default: the data's own dimensions. Named axes must agree in length. */
  shape?: readonly Dim[];
  dtype?: DType;
  name?: string;
  role?: "weight" | "data";
  /** What its sizes are called, here and in errors of what is made of it. */
  sizes?: SizeNames;
}

function defaultDType(data: DataArray): DType {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float64Array) return "float64";
  if (data instanceof BigInt64Array) return "int64";
  if (data instanceof Int32Array) return "int32";
  if (data instanceof Int16Array) return "int16";
  if (data instanceof Int8Array) return "int8";
  if (data instanceof Uint8Array) return "uint8";
  throw new GraphError("a Uint16Array holds float16 or bfloat16", { code: "graph/dtype", hint: "pass dtype" });
}

/**
 * A leaf over existing data; nothing is copied.
 * @param data row-major numbers
 * @param dims concrete dimensions; their product is `data.length`
 * @example
 * const x = leaf(new Float32Array([1, 2, 3, 4]), [2, 2]);
 */
export function leaf(data: DataArray, dims: readonly number[], options: LeafOptions = {}): Tensor {
  const { shape = dims, dtype = defaultDType(data), name = "data", role = "data", sizes } = options;
  const size = dims.reduce((a, b) => a * b, 1);
  if (size !== data.length)
    throw new GraphError("data does not fill its shape", {
      code: "graph/leaf",
      where: name,
      expected: `${size} elements for ${shapeText(dims)}`,
      received: String(data.length),
    });
  if (!(data instanceof dtypes[dtype].array))
    throw new GraphError(`data of a ${dtype} leaf has the wrong array type`, {
      code: "graph/leaf",
      where: name,
      expected: dtypes[dtype].array.name,
      received: data.constructor.name,
    });
  checkDims(shape, dims, name);
  return new Tensor(leafOperation, [], {}, shape, dtype, { dims, data, name, role, sizes });
}

/**
 * A leaf without data: an argument of a function given to `compile`.
 * @example
 * const x = placeholder([axis("batch"), 8], "float32", "x");
 */
export function placeholder(shape: readonly Dim[], dtype: DType, name: string): Tensor {
  return new Tensor(leafOperation, [], {}, shape, dtype, { dims: [], data: undefined, name, role: "argument" });
}

/**
 * A weight of which only the header has been read: expressions over it can be built, planned and forecast, but not run.
 * @example
 * const w = declaredWeight([768, 3072], { name: "W_in" });
 * const input = leaf(new Float32Array(4 * 768), [4, 768]);
 * defaultRuntime().forecast(matmul(input, w)).weights; // 9437184
 */
export function declaredWeight(dims: readonly number[], options: { name: string; sizes?: SizeNames }): Tensor {
  return new Tensor(leafOperation, [], {}, dims, "float32", { dims, data: undefined, role: "weight", ...options });
}

/** Checks concrete dimensions against a shape that may name axes. */
function checkDims(shape: readonly Dim[], dims: readonly number[], name: string): void {
  const sizes = new Map<number, number>();
  const fits =
    shape.length === dims.length &&
    shape.every((dim, i) => {
      if (typeof dim === "number") return dim === dims[i];
      const atom = atomOf(dim);
      if (atom === undefined) return true;
      const known = sizes.get(atom.id) ?? atom.size;
      sizes.set(atom.id, dims[i]!);
      return known === undefined || known === dims[i];
    });
  if (!fits)
    throw new GraphError("data does not have the declared shape", {
      code: "graph/leaf",
      where: name,
      expected: shapeText(shape),
      received: shapeText(dims),
    });
}
