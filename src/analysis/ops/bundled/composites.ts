/** @file The four analyses of the tutorials, as compositions. */
import { ablationAttribution, gradientAttribution, modelGradient } from "./attribution.ts";
import { composite, type Composite } from "../compose.ts";
import { labelsToIds, logitDiffs, logitDiffsCache, modelFwd } from "./core.ts";
import { latentCorrectActs, modelAblation, modelFwdWCacheLatentModels } from "./sae.ts";

/** `logit_diffs_base`: logit differences of the plain model. */
export const logitDiffsBase: Composite<[typeof labelsToIds, typeof modelFwd, typeof logitDiffs], "logit_diffs_base"> =
  composite(
    { name: "logit_diffs_base", description: "Logit differences of the plain model." },
    labelsToIds,
    modelFwd,
    logitDiffs,
  );

/** `logit_diffs_sae` (`logit_diffs_latent`): logit differences with all SAEs spliced, and the active latents. */
export const logitDiffsSae: Composite<
  [typeof labelsToIds, typeof modelFwdWCacheLatentModels, typeof logitDiffsCache, typeof latentCorrectActs],
  "logit_diffs_sae"
> = composite(
  {
    name: "logit_diffs_sae",
    aliases: ["logit_diffs_latent"],
    description: "Logit differences with all SAEs spliced, and the active latents.",
  },
  labelsToIds,
  modelFwdWCacheLatentModels,
  logitDiffsCache,
  latentCorrectActs,
);

/** `logit_diffs_attr_grad`: the effect of each active latent, estimated by its gradient. */
export const logitDiffsAttrGrad: Composite<
  [typeof labelsToIds, typeof modelGradient, typeof gradientAttribution],
  "logit_diffs_attr_grad"
> = composite(
  { name: "logit_diffs_attr_grad", description: "The effect of each active latent, estimated by its gradient." },
  labelsToIds,
  modelGradient,
  gradientAttribution,
);

/** `logit_diffs_attr_ablation` (`logit_diffs_ablation`): the exact effect of setting each active latent to 0. */
export const logitDiffsAttrAblation: Composite<
  [
    typeof labelsToIds,
    typeof modelFwdWCacheLatentModels,
    typeof logitDiffsCache,
    typeof modelAblation,
    typeof ablationAttribution,
  ],
  "logit_diffs_attr_ablation"
> = composite(
  {
    name: "logit_diffs_attr_ablation",
    aliases: ["logit_diffs_ablation"],
    description: "The exact effect of setting each active latent to 0.",
  },
  labelsToIds,
  modelFwdWCacheLatentModels,
  logitDiffsCache,
  modelAblation,
  ablationAttribution,
);
