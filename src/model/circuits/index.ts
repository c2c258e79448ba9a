/** @file What the residual stream is made of, how heads compose, and patching. */
export { accumulatedBias, fullResidDecomposition, stackHeadResults, stackNeuronResults } from "./components.ts";
export { compositionScores, type CompositionMode } from "./composition.ts";
export { logitAttrs, type LogitAttrsOptions, type TokenIds } from "./logitAttrs.ts";
export { accumulatedResid, decomposeResid } from "./residual.ts";
export type { Activations, PositionSlice, ResidualStack, StackOptions, StackPlace } from "./stack.ts";
export { applyLnToStack, type StackNormOptions } from "./stackNorm.ts";
export { attributionPatch } from "./attributionPatching.ts";
export type { Patch, PatchAxis, PatchComparison, PatchName, PatchTable } from "./patches.ts";
export { activationPatch, type PatchingOptions } from "./patching.ts";
