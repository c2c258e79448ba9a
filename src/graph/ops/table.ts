/** @file The operation table: every operation there is, by name. */
import { attentionOperations } from "./attention.ts";
import { binaryOperations, otherElementwise, unaryOperations } from "./elementwise.ts";
import { indexOperations } from "./indexing.ts";
import { matMulOperations } from "./matmul.ts";
import { normOperations } from "./norm.ts";
import { randomOperations } from "./random.ts";
import { reduceOperations } from "./reduce.ts";
import { shapeOperations } from "./shape.ts";

/** Every operation by its name: shape rule, lowering to ONNX, derivative, reference evaluation. */
export const operations: typeof unaryOperations &
  typeof binaryOperations &
  typeof otherElementwise &
  typeof reduceOperations &
  typeof shapeOperations &
  typeof indexOperations &
  typeof matMulOperations &
  typeof attentionOperations &
  typeof normOperations &
  typeof randomOperations = {
  ...unaryOperations,
  ...binaryOperations,
  ...otherElementwise,
  ...reduceOperations,
  ...shapeOperations,
  ...indexOperations,
  ...matMulOperations,
  ...attentionOperations,
  ...normOperations,
  ...randomOperations,
};

export type OperationName = keyof typeof operations;
