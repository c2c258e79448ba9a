/** @file A trained SAE as one that runs: scales and decoder norms folded, in SAELens' files. */
import { Sae, Transcoder, type SaeArray, type SaeArrays } from "../../sae/index.ts";
import { trainingDetails, type TrainedSaeConfig } from "./config.ts";
import { kinds } from "./kinds.ts";

/** What training leaves behind beside the parameters. */
export interface TrainedState {
  readonly parameters: SaeArrays;
  /** The moving average of a batchtopk's smallest latents. */
  readonly topkThreshold: number;
  /** What activations were multiplied by. */
  readonly scalingFactor: number;
  readonly metadata: Readonly<Record<string, unknown>>;
}

const times = ({ dims, data }: SaeArray, factor: number): SaeArray => ({ dims, data: data.map((x) => x * factor) });

/** Parameters that take activations as they come from the model. */
function unscaled({ parameters, scalingFactor: s }: TrainedState): SaeArrays {
  if (s === 1) return parameters;
  const { W_enc, W_dec, b_dec } = parameters;
  return { ...parameters, W_enc: times(W_enc!, s), W_dec: times(W_dec!, 1 / s), b_dec: times(b_dec!, 1 / s) };
}

const metadataOf = (cfg: TrainedSaeConfig, { metadata }: TrainedState): Record<string, unknown> => ({
  ...metadata,
  training_architecture: cfg.architecture,
  training_architecture_details: trainingDetails(cfg),
});

const sharedConfig = (cfg: TrainedSaeConfig, state: TrainedState): Record<string, unknown> => ({
  d_in: cfg.dIn,
  d_sae: cfg.dSae,
  dtype: "float32",
  device: "cpu",
  apply_b_dec_to_input: cfg.applyBDecToInput,
  normalize_activations: cfg.normalizeActivations === "expected_average_only_in" ? "none" : cfg.normalizeActivations,
  reshape_activations: String(state.metadata["hook_name"]).includes("hook_z") ? "hook_z" : "none",
  metadata: metadataOf(cfg, state),
});

/** The SAE that runs. */
function inferenceSae(cfg: TrainedSaeConfig, state: TrainedState): Sae {
  const { architecture, k, rescaleActsByDecoderNorm: rescale } = cfg;
  const arrays = unscaled(state);
  const { ranks } = kinds[architecture];
  const own = ranks === undefined ? {} : { k, rescale_acts_by_decoder_norm: rescale };
  // A threshold in units of latents times decoder norms shrinks with them.
  const threshold = state.topkThreshold / (rescale ? state.scalingFactor : 1);
  const sae = Sae.fromParams(
    { architecture, ...sharedConfig(cfg, state), ...own },
    { ...arrays, ...(ranks === "batch" && { topk_threshold: { dims: [], data: Float32Array.of(threshold) } }) },
    "the trained SAE",
  );
  return ranks === "token" && rescale ? sae.foldWDecNorm() : sae;
}

/** The transcoder that runs. */
function inferenceTranscoder(cfg: TrainedSaeConfig, state: TrainedState): Transcoder {
  const config = { ...sharedConfig(cfg, state), d_out: cfg.dOut, architecture: cfg.architecture };
  return Transcoder.fromParams(config, unscaled(state), "the trained transcoder");
}

/** Whatever was trained, as it runs. */
export const inferenceOf = (cfg: TrainedSaeConfig, state: TrainedState): Sae | Transcoder =>
  kinds[cfg.architecture].transcodes ? inferenceTranscoder(cfg, state) : inferenceSae(cfg, state);

/**
 * Saves as SAELens does: cfg.json and sae_weights.safetensors, loadable here and there. batchtopk and matryoshka become
 * jumprelu with their threshold; scales and, where latents are ranked by them, decoder norms are folded.
 */
export async function saveTrained(folder: string, cfg: TrainedSaeConfig, state: TrainedState): Promise<void> {
  const made = inferenceOf(cfg, state);
  await made.save(folder);
  made.dispose();
}
