/** @file Ops: typed steps of analyses, their compositions, and running them. */
export * as ops from "./bundled/index.ts";
export {
  compose,
  composite,
  type Composite,
  type CompositeNames,
  type MissingInput,
  type OpenColumns,
} from "./compose.ts";
export { defineOp, manualStep, type AnyOp, type Capability, type Op, type OpContext, type OpDefinition } from "./op.ts";
export type {
  ConceptDirectionParams,
  ConceptExamplesParams,
  ConceptStateParams,
  DirectionMode,
  InterventionMode,
  InterventionParams,
  InterventionPayload,
  InterventionTensor,
  NestedNumbers,
} from "./bundled/concept/index.ts";
export { environmentOps } from "./environment.ts";
export { opColumnsTable, opInfo, opsTable, type OpColumnInfo, type OpInfo } from "./info.ts";
export { runOp, runOps, type OpRequest, type OpsSetting } from "./run.ts";
export { OpState, type StateSpec } from "./state.ts";
export { bundledOps, compositionMembers, createOpTable, findOp, listOps, withOps, type OpTable } from "./table.ts";
export {
  openBatch,
  type AnalysisBatch,
  type ForwardChoice,
  type OpHook,
  type OpOptions,
  type OpSetting,
  type Work,
} from "./work.ts";
export { readCompositions, withComponents, type CompositionsOptions, type PreferOps } from "./yaml.ts";
