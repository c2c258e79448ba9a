/** @file Lowering a plan to the bytes of an ONNX model. */
import { dimKey, sameDim, type Atom, type Dim } from "../graph/axis.ts";
import { dtypes, numberToBfloat16, numberToFloat16, type DType } from "../graph/dtype.ts";
import type { Emitter, OnnxAttribute, Value } from "../graph/operation.ts";
import type { Tensor } from "../graph/tensor.ts";
import { topological } from "../graph/traverse.ts";
import type { Plan } from "./backend.ts";
import { tensorType, writeModel, type OnnxNode, type OnnxTensor, type OnnxValue } from "./onnxWire.ts";

/** ONNX file format and operator sets the models are written for. */
const versions = { ir: 10, operators: { "": 22, "com.microsoft": 1 } };

/** Packed weights of this size and more are handed over beside the model: not copied into it, and not part of its 2 GiB. */
const largeWeight = 65536;

/** What a data type travels as: bfloat16 cannot cross the JavaScript binding and crosses as float32. */
export const wireType = (dtype: DType): DType => (dtype === "bfloat16" ? "float32" : dtype);

function scalarBytes(value: number, dtype: DType): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  const write: { [D in DType]: () => number } = {
    float32: () => (view.setFloat32(0, value, true), 4),
    float64: () => (view.setFloat64(0, value, true), 8),
    float16: () => (view.setUint16(0, numberToFloat16(value), true), 2),
    bfloat16: () => (view.setUint16(0, numberToBfloat16(value), true), 2),
    int64: () => (view.setBigInt64(0, BigInt(value), true), 8),
    int32: () => (view.setInt32(0, value, true), 4),
    int16: () => (view.setInt16(0, value, true), 2),
    int8: () => (view.setInt8(0, value), 1),
    uint8: () => (view.setUint8(0, value), 1),
    bool: () => (view.setUint8(0, value ? 1 : 0), 1),
  };
  const bytes = write[dtype]();
  return new Uint8Array(view.buffer, 0, bytes);
}

/** An input (int64 [1]) that takes the size of `plan.atoms[atom]`. */
interface SizeInput {
  readonly input: string;
  readonly atom: number;
  /** The axis, for errors. */
  readonly name: string;
}

class GraphBuilder implements Emitter {
  readonly operators: OnnxNode[] = [];
  readonly constants: OnnxTensor[] = [];
  readonly inputs: OnnxValue[] = [];
  readonly external: ExternalData[] = [];
  readonly #plan: Plan;
  readonly #types = new Map<string, Uint8Array>();
  readonly #known = new Map<string, Value>();
  /** {@link Axis.key} in the plan's numbering. */
  readonly #sizeKeys = new Map<string, string>();
  readonly #multi = new Map<string, readonly Value[]>();
  readonly sizes = new Map<number, SizeInput>();
  #count = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  #name(): Value {
    return `v${this.#count++}`;
  }

  #once(key: string, make: () => Value): Value {
    let value = this.#known.get(key);
    if (value === undefined) this.#known.set(key, (value = make()));
    return value;
  }

  initializer(dims: readonly number[], dtype: DType, bytes: Uint8Array): Value {
    const name = this.#name();
    const large = bytes.length >= largeWeight;
    if (large) this.external.push({ path: name, data: bytes });
    this.constants.push({ name, dims, dataType: dtypes[dtype].onnx, data: large ? { location: name } : bytes });
    return name;
  }

  input(dims: readonly Dim[], dtype: DType, name: Value): Value {
    this.inputs.push(this.info(name, dtype, dims));
    return name;
  }

  /** A size in terms of the plan's own numbering of axes. */
  #key(dim: Dim): string {
    if (typeof dim === "number") return String(dim);
    let key = this.#sizeKeys.get(dim.key);
    if (key === undefined) {
      key = dimKey(dim, (atom) => this.#plan.atoms.indexOf(atom));
      this.#sizeKeys.set(dim.key, key);
    }
    return key;
  }

  /** A declaration of a value's type. Equal sizes only share a name, or ONNX Runtime would share their buffers. */
  info(name: string, dtype: DType, dims: readonly Dim[]): OnnxValue {
    const sizes = dims.map((d) => (typeof d === "number" ? d : `size ${this.#key(d)}`));
    const key = `${dtype}[${sizes.join(",")}]`;
    let type = this.#types.get(key);
    if (type === undefined) this.#types.set(key, (type = tensorType(dtypes[dtype].onnx, sizes)));
    return { name, type };
  }

  node(type: string, inputs: readonly Value[], attributes: { [name: string]: OnnxAttribute } = {}, domain = ""): Value {
    return this.#emit(type, inputs, attributes, 1, domain)[0]!;
  }

  nodes(
    type: string,
    inputs: readonly Value[],
    attributes: { [name: string]: OnnxAttribute },
    outputs: number,
    domain = "",
  ): readonly Value[] {
    const key = `${domain}.${type}(${inputs.join(",")})${JSON.stringify(attributes)}`;
    let known = this.#multi.get(key);
    if (known === undefined) this.#multi.set(key, (known = this.#emit(type, inputs, attributes, outputs, domain)));
    return known;
  }

  #emit(
    type: string,
    inputs: readonly Value[],
    attributes: { [name: string]: OnnxAttribute },
    outputs: number,
    domain: string,
  ): Value[] {
    const names = Array.from({ length: outputs }, () => this.#name());
    this.operators.push({ type, domain, inputs, outputs: names, attributes });
    return names;
  }

  scalar(value: number, dtype: DType): Value {
    return this.#once(`s${dtype}:${Object.is(value, -0) ? "-0" : value}`, () =>
      this.initializer([], dtype, scalarBytes(value, dtype)),
    );
  }

  #vector(values: readonly number[]): Value {
    return this.#once(`i[${values.join(",")}]`, () =>
      this.initializer([values.length], "int64", new Uint8Array(BigInt64Array.from(values, BigInt).buffer)),
    );
  }

  /** One dimension as an int64 vector of length 1. */
  #dim(dim: Dim): Value {
    if (typeof dim === "number") return this.#vector([dim]);
    return this.#once(`d${this.#key(dim)}`, () => {
      const terms = dim.terms.map(({ coefficient, atoms }) => {
        const factors = atoms.map((atom) => this.#atom(atom));
        if (coefficient !== 1 || factors.length === 0) factors.push(this.#vector([coefficient]));
        return factors.reduce((a, b) => this.node("Mul", [a, b]));
      });
      return terms.reduce((a, b) => this.node("Add", [a, b]));
    });
  }

  /** The size of an axis is fed as an int64 vector of length 1. */
  #atom(atom: Atom): Value {
    const index = this.#plan.atoms.indexOf(atom);
    const input = `axis${index}`;
    if (!this.sizes.has(index)) {
      this.sizes.set(index, { input, atom: index, name: atom.name });
      this.input([1], "int64", input);
    }
    return input;
  }

  int64(values: readonly Dim[]): Value {
    if (values.every((v) => typeof v === "number")) return this.#vector(values);
    if (values.length === 1) return this.#dim(values[0]!);
    const key = `v${values.map((d) => this.#key(d)).join(",")}`;
    return this.#once(key, () =>
      this.node(
        "Concat",
        values.map((d) => this.#dim(d)),
        { axis: 0 },
      ),
    );
  }

  int64Scalar(value: Dim): Value {
    if (typeof value === "number") return this.scalar(value, "int64");
    return this.#once(`q${this.#key(value)}`, () => this.node("Squeeze", [this.#dim(value), this.#vector([0])]));
  }

  /**
   * Sizes are copied from the input (0) or inferred (−1) where ONNX can do that whatever they are, else computed: with
   * a size of 0 beside it, −1 has no answer, and a literal 0 must not copy.
   */
  reshape(value: Value, from: readonly Dim[], to: readonly Dim[]): Value {
    const short = to.map((dim, i) => {
      if (typeof dim === "number") return dim;
      return i < from.length && sameDim(from[i]!, dim) ? 0 : -1;
    });
    const holes = short.filter((d) => d === -1).length;
    if (!to.includes(0) && (holes === 0 || (holes === 1 && !short.includes(0))))
      return this.node("Reshape", [value, this.#vector(short)]);
    return this.node("Reshape", [value, this.int64(to)], { allowzero: 1 });
  }
}

/** Data of an initializer that is not in the model's bytes. */
export interface ExternalData {
  /** Where the model says it is. */
  readonly path: string;
  readonly data: Uint8Array;
}

/** An ONNX model as bytes, with the names of what it takes and gives. */
export interface OnnxModel {
  readonly bytes: Uint8Array;
  /** Large packed weights: the leaves' own bytes. */
  readonly external: readonly ExternalData[];
  /** Names in the order of `plan.feeds`; undefined for a feed that the graph does not use. */
  readonly feeds: readonly string[];
  /** The sizes it takes. */
  readonly sizes: readonly SizeInput[];
  readonly outputs: readonly string[];
  readonly packedBytes: number;
}

/** Writes a plan as an ONNX model. */
export function lowerPlan(plan: Plan): OnnxModel {
  const builder = new GraphBuilder(plan);
  const values = new Map<Tensor, Value>();
  let packedBytes = 0;
  const feeds = plan.feeds.map((feed, i) => {
    const name = builder.input(feed.shape, wireType(feed.dtype), `x${i}`);
    values.set(feed, feed.dtype === "bfloat16" ? builder.node("Cast", [name], { to: dtypes.bfloat16.onnx }) : name);
    return name;
  });
  for (const weight of plan.packed) {
    const { buffer, byteOffset, byteLength } = weight.data;
    packedBytes += byteLength;
    values.set(weight, builder.initializer(weight.dims, weight.dtype, new Uint8Array(buffer, byteOffset, byteLength)));
  }
  const shapes = new Map<Value, OnnxValue>();
  for (const node of topological(plan.outputs)) {
    if (values.has(node)) continue;
    const inputs = node.inputs.map((x) => values.get(x)!);
    const value = node.op.lower({ emit: builder, inputs, node, attributes: node.attributes });
    values.set(node, value);
    shapes.set(value, builder.info(value, node.dtype, node.shape));
  }
  // An output is a name of its own: not that of an input, a constant or another output.
  const taken = new Set([...builder.inputs, ...builder.constants].map(({ name }) => name));
  const outputs = plan.outputs.map((x) => {
    const value = values.get(x)!;
    if (wireType(x.dtype) !== x.dtype) return builder.node("Cast", [value], { to: dtypes[wireType(x.dtype)].onnx });
    const own = taken.has(value) ? builder.node("Identity", [value]) : value;
    taken.add(own);
    shapes.delete(own);
    return own;
  });
  const graph = {
    nodes: builder.operators,
    constants: builder.constants,
    inputs: builder.inputs,
    outputs: plan.outputs.map((x, i) => builder.info(outputs[i]!, wireType(x.dtype), x.shape)),
    values: [...shapes.values()],
  };
  return {
    bytes: writeModel(graph, versions),
    external: builder.external,
    feeds,
    sizes: [...builder.sizes.values()],
    outputs,
    packedBytes,
  };
}
