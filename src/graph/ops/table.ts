/** @file The operation table: every operation there is, by name. */
import { binaryOperations, otherElementwise, unaryOperations } from "./elementwise.ts";
import { indexOperations } from "./index.ts";
import { matMulOperations } from "./matmul.ts";
import { randomOperations } from "./random.ts";
import { reduceOperations } from "./reduce.ts";
import { shapeOperations } from "./shape.ts";

export const operations = {
  ...unaryOperations,
  ...binaryOperations,
  ...otherElementwise,
  ...reduceOperations,
  ...shapeOperations,
  ...indexOperations,
  ...matMulOperations,
  ...randomOperations,
} as const;

export type OperationName = keyof typeof operations;
