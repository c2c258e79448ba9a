/** @file The operation table: every operation there is, by name. */
import { attentionOperations } from "./attention.ts";
import { binaryOperations } from "./binary.ts";
import { gatherOperations } from "./gather.ts";
import { gatherNDOperations } from "./gatherND.ts";
import { matMulOperations } from "./matmul.ts";
import { normOperations } from "./norm.ts";
import { partOperations } from "./parts.ts";
import { randomOperations } from "./random.ts";
import { reduceOperations } from "./reduce.ts";
import { rowwiseOperations } from "./rowwise.ts";
import { shapeOperations } from "./shape.ts";
import { sizeOperations } from "./sizes.ts";
import { takeRowsOperations } from "./takeRows.ts";
import { unaryOperations } from "./unary.ts";
import { valueOperations } from "./values.ts";

/** Every operation by its name: shape rule, lowering to ONNX, derivative, reference evaluation. */
export const operations: typeof unaryOperations &
  typeof binaryOperations &
  typeof valueOperations &
  typeof reduceOperations &
  typeof rowwiseOperations &
  typeof shapeOperations &
  typeof partOperations &
  typeof sizeOperations &
  typeof gatherOperations &
  typeof gatherNDOperations &
  typeof takeRowsOperations &
  typeof matMulOperations &
  typeof attentionOperations &
  typeof normOperations &
  typeof randomOperations = {
  ...unaryOperations,
  ...binaryOperations,
  ...valueOperations,
  ...reduceOperations,
  ...rowwiseOperations,
  ...shapeOperations,
  ...partOperations,
  ...sizeOperations,
  ...gatherOperations,
  ...gatherNDOperations,
  ...takeRowsOperations,
  ...matMulOperations,
  ...attentionOperations,
  ...normOperations,
  ...randomOperations,
};

export type OperationName = keyof typeof operations;
