/** @file What a review shows of a run, as published: `AnalysisArtifactCfg`. */

export interface ArtifactCfg {
  /** Draw the effects of the latents. */
  readonly latentEffectsGraphs: boolean;
  /** Draw them batch by batch, too; draws them whatever `latentEffectsGraphs` says. */
  readonly latentEffectsGraphsPerBatch: boolean;
  /** A table for each SAE. */
  readonly tablePerLatentModel: boolean;
  readonly topKLatentsTable: number;
  readonly topKLatentDashboards: number;
  readonly topKCleanLogitDiffs: number;
}

/** The published defaults. */
const defaults: ArtifactCfg = {
  latentEffectsGraphs: true,
  latentEffectsGraphsPerBatch: false,
  tablePerLatentModel: true,
  topKLatentsTable: 2,
  topKLatentDashboards: 1,
  topKCleanLogitDiffs: 10,
};

/** The published defaults under what is given. */
export function artifactCfg(given: Partial<ArtifactCfg> = {}): ArtifactCfg {
  const cfg = { ...defaults, ...given };
  return { ...cfg, latentEffectsGraphs: cfg.latentEffectsGraphs || cfg.latentEffectsGraphsPerBatch };
}
