/** @file What one entry of the operation table says: shape rule, ONNX lowering, derivative and reference evaluation. */
import type { Dim } from "./axis.ts";
import type { DType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

export type AttributeValue = string | number | boolean | Dim | readonly Dim[] | undefined;
/** Everything about a node that is not an input. Sizes may be axes. */
export type Attributes = { readonly [name: string]: AttributeValue };

/** A dense array of the reference evaluation: float64 whatever the tensor's dtype, row-major. */
export interface NDArray {
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

/** The name of a value in an ONNX graph under construction. */
export type Value = string;
export type OnnxAttribute = number | string | readonly number[] | { readonly float: number };

/** What lowering may ask of the ONNX graph under construction. */
export interface Emitter {
  /** Adds a node and returns its first output. Numbers become INT attributes; `{ float }` makes a FLOAT. */
  node(type: string, inputs: readonly Value[], attributes?: { [name: string]: OnnxAttribute }, domain?: string): Value;
  /** Adds a node with several outputs. The same call twice gives the same node. */
  nodes(
    type: string,
    inputs: readonly Value[],
    attributes: { [name: string]: OnnxAttribute },
    outputs: number,
    domain?: string,
  ): readonly Value[];
  /** An int64 vector; its entries may be symbolic. */
  int64(values: readonly Dim[]): Value;
  /** An int64 scalar. */
  int64Scalar(value: Dim): Value;
  /** A scalar constant. */
  scalar(value: number, dtype: DType): Value;
  /** A value of shape `from` under the shape `to`. */
  reshape(value: Value, from: readonly Dim[], to: readonly Dim[]): Value;
}

export interface Inferred {
  readonly shape: readonly Dim[];
  readonly dtype: DType;
}

export interface LowerContext<A> {
  readonly emit: Emitter;
  readonly inputs: readonly Value[];
  readonly node: Tensor;
  readonly attributes: A;
}

export interface GradientContext<A> {
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
  /** ∂s/∂output, of the output's shape. */
  readonly gradient: Tensor;
  readonly attributes: A;
  /** Whether input `i` leads to something the caller differentiates with respect to. */
  readonly needs: (input: number) => boolean;
}

export interface EvaluateContext<A> {
  readonly inputs: readonly NDArray[];
  readonly dims: readonly number[];
  readonly dtype: DType;
  readonly attributes: A;
  readonly node: Tensor;
  readonly sizeOf: (dim: Dim) => number;
}

/** Says, by name, that no derivative flows through an operation. */
export interface NotDifferentiable {
  readonly notDifferentiable: string;
}

/** @param reason why, for the error that names the operation and the path to it */
export function notDifferentiable(reason: string): NotDifferentiable {
  return { notDifferentiable: reason };
}

/**
 * How an output axis relates to the inputs, for narrowing: entry `i` is the axis of input `i` that is walked in step
 * with the output axis, or null where input `i` does not vary along it. `undefined`: the operation mixes entries along
 * that axis.
 */
export type Along = readonly (number | null)[] | undefined;

/** One entry of the operation table. */
export interface Operation<A extends Attributes = Attributes> {
  /** The ONNX operator it is, where there is one. */
  readonly name: string;
  infer(inputs: readonly Tensor[], attributes: A): Inferred;
  lower(context: LowerContext<A>): Value;
  readonly gradient: GradientRule<A> | NotDifferentiable;
  evaluate(context: EvaluateContext<A>): Float64Array;
  along(node: Tensor, axis: number, attributes: A): Along;
  /** Inputs broadcast against each other like ONNX elementwise operators. */
  readonly broadcasts?: boolean;
  /** The value of its first input: no node at run time. */
  readonly transparent?: boolean;
  /** Somebody looks at the gradient here: differentiation keeps all its positions. */
  readonly watched?: boolean;
  /** Numbers (float32) it needs beside operands and result while it runs, for forecasts. */
  scratch?(node: Tensor, dimsOf: (x: Tensor) => readonly number[]): number;
  /** Computed by the engine itself before the run and fed (large constants, random numbers). */
  readonly host?: boolean;
}

/** From ∂s/∂output to ∂s/∂input for each input; undefined where nothing flows. (A method type, so that rules of one attribute type fit the table.) */
export type GradientRule<A> = { rule(context: GradientContext<A>): readonly (Tensor | undefined)[] }["rule"];
