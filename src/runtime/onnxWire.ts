/**
 * @file ONNX models as bytes: the messages of onnx.proto that lowering needs, written field by field. (Messages built and
 * reflected by schema cost more than ONNX Runtime's own part of compiling.)
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { OnnxAttribute } from "../graph/operation.ts";

/** One operator of a graph; the domain of ONNX itself is empty. */
export interface OnnxNode {
  readonly type: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: { readonly [name: string]: OnnxAttribute };
}

/** A constant: its bytes, or where they are beside the model. */
export interface OnnxTensor {
  readonly name: string;
  readonly dims: readonly number[];
  readonly dataType: number;
  readonly data: Uint8Array | { readonly location: string };
}

/** A value's declaration. */
export interface OnnxValue {
  readonly name: string;
  /** From {@link tensorType}; many values share one. */
  readonly type: Uint8Array;
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxTensor[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly values: readonly OnnxValue[];
}

type Write = (writer: BinaryWriter) => void;

/** Field numbers are those of onnx.proto (IR version 10). */
const text = (writer: BinaryWriter, field: number, value: string): void =>
  void writer.tag(field, WireType.LengthDelimited).string(value);
const bytes = (writer: BinaryWriter, field: number, value: Uint8Array): void =>
  void writer.tag(field, WireType.LengthDelimited).bytes(value);
const integer = (writer: BinaryWriter, field: number, value: number): void =>
  void writer.tag(field, WireType.Varint).int64(value);
function message(writer: BinaryWriter, field: number, write: Write): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
}

/**
 * The type of a tensor, TypeProto.
 * @param dims numbers, or names: equal names, equal sizes
 */
export function tensorType(elementType: number, dims: readonly (number | string)[]): Uint8Array {
  const writer = new BinaryWriter();
  message(writer, 1, (tensor) => {
    integer(tensor, 1, elementType);
    message(tensor, 2, (shape) => {
      for (const dim of dims)
        message(shape, 1, (one) => (typeof dim === "number" ? integer(one, 1, dim) : text(one, 2, dim)));
    });
  });
  return writer.finish();
}

/** AttributeProto.AttributeType. */
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;
const encoder = new TextEncoder();

function writeAttribute(writer: BinaryWriter, name: string, value: OnnxAttribute): void {
  text(writer, 1, name);
  let type: keyof typeof attributeTypes;
  if (typeof value === "number") {
    integer(writer, 3, value);
    type = "int";
  } else if (typeof value === "string") {
    bytes(writer, 4, encoder.encode(value));
    type = "string";
  } else if ("float" in value) {
    writer.tag(2, WireType.Bit32).float(value.float);
    type = "float";
  } else {
    for (const one of value) integer(writer, 8, one);
    type = "ints";
  }
  integer(writer, 20, attributeTypes[type]);
}

function writeNode(writer: BinaryWriter, { type, domain, inputs, outputs, attributes }: OnnxNode): void {
  for (const input of inputs) text(writer, 1, input);
  for (const output of outputs) text(writer, 2, output);
  text(writer, 4, type);
  for (const name in attributes) message(writer, 5, (one) => writeAttribute(one, name, attributes[name]!));
  if (domain !== "") text(writer, 7, domain);
}

function writeTensor(writer: BinaryWriter, { name, dims, dataType, data }: OnnxTensor): void {
  for (const dim of dims) integer(writer, 1, dim);
  integer(writer, 2, dataType);
  text(writer, 8, name);
  if (data instanceof Uint8Array) {
    bytes(writer, 9, data);
    return;
  }
  message(writer, 13, (entry) => {
    text(entry, 1, "location");
    text(entry, 2, data.location);
  });
  integer(writer, 14, 1);
}

function writeGraph(writer: BinaryWriter, graph: OnnxGraph): void {
  for (const node of graph.nodes) message(writer, 1, (one) => writeNode(one, node));
  text(writer, 2, "interpretune");
  for (const tensor of graph.constants) message(writer, 5, (one) => writeTensor(one, tensor));
  const declare = (field: number, values: readonly OnnxValue[]): void => {
    for (const { name, type } of values)
      message(writer, field, (one) => {
        text(one, 1, name);
        bytes(one, 2, type);
      });
  };
  declare(11, graph.inputs);
  declare(12, graph.outputs);
  declare(13, graph.values);
}

/**
 * A model as bytes.
 * @param versions the file format's, and of the operator sets by domain
 */
export function writeModel(
  graph: OnnxGraph,
  versions: { readonly ir: number; readonly operators: { readonly [domain: string]: number } },
): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  integer(writer, 1, versions.ir);
  text(writer, 2, "interpretune");
  message(writer, 7, (one) => writeGraph(one, graph));
  for (const [domain, version] of Object.entries(versions.operators))
    message(writer, 8, (one) => {
      text(one, 1, domain);
      integer(one, 2, version);
    });
  return writer.finish();
}
