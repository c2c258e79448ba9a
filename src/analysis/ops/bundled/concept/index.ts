/** @file The family `concept`: directions between groups of examples, and interventions with them. */
export { conceptDirection, type ConceptDirectionParams, type DirectionMode } from "./direction.ts";
export { extractConceptLatentExamples, type ConceptExamplesParams } from "./examples.ts";
export {
  modelFwdIntervention,
  type InterventionParams,
  type InterventionPayload,
  type InterventionTensor,
  type NestedNumbers,
} from "./intervention.ts";
export { extractConceptLatentState, type ConceptStateParams } from "./state.ts";
export type { InterventionMode } from "./interventions.ts";
