/** @file Every bundled op under its names in camel case: what `ops` holds. */
export {
  getAnswerIndices,
  labelsToIds,
  logitDiffs,
  logitDiffsCache,
  modelFwd,
  modelFwd as modelForward,
  modelFwdWCache,
} from "./core.ts";
export {
  getAliveLatents,
  latentCorrectActs,
  latentCorrectActs as saeCorrectActs,
  modelAblation,
  modelFwdWCacheLatentModels,
  modelFwdWCacheLatentModels as modelCacheForward,
} from "./sae.ts";
export { ablationAttribution, gradientAttribution, modelGradient } from "./attribution.ts";
export {
  logitDiffsAttrAblation,
  logitDiffsAttrAblation as logitDiffsAblation,
  logitDiffsAttrGrad,
  logitDiffsBase,
  logitDiffsSae,
  logitDiffsSae as logitDiffsLatent,
} from "./composites.ts";
export {
  conceptDirection,
  conceptDirection as semanticDirection,
  extractConceptLatentExamples,
  extractConceptLatentExamples as conceptLatentExamples,
  extractConceptLatentState,
  extractConceptLatentState as conceptLatentStateFromCache,
  modelFwdIntervention,
  modelFwdIntervention as directConceptDirectionIntervention,
  modelFwdIntervention as directionIntervention,
} from "./concept/index.ts";
