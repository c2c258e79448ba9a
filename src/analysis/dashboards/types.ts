/** @file What a dashboard of a latent says, as plain data. */

/** A latent of an SAE. */
export interface LatentRef {
  /** The SAE's hook point, or the full name of its latents' point (`….hook_sae_acts_post`). */
  readonly hook: string;
  readonly latent: number;
}

/** A place where a latent is active, with the tokens around it. */
export interface TokenExample {
  /** Row of the data. */
  readonly row: number;
  /** Position in the row. */
  readonly position: number;
  readonly activation: number;
  /** Position of the first token shown. */
  readonly start: number;
  readonly tokens: readonly string[];
  /** Of the latent at each token shown. */
  readonly activations: readonly number[];
}

/** Examples whose activations lie between two bounds. */
export interface ExampleGroup {
  /** `top`, or an interval of activations. */
  readonly kind: "top" | "interval";
  /** Activations, lower bound exclusive (but for the top), upper inclusive. */
  readonly from: number;
  readonly to: number;
  /** Share of the latent's active tokens that lie in the interval. */
  readonly share: number;
  readonly examples: readonly TokenExample[];
}

/** Counts of values between consecutive edges. */
export interface Histogram {
  /** One more than counts. */
  readonly edges: readonly number[];
  readonly counts: readonly number[];
}

export interface TokenWeight {
  readonly id: number;
  readonly token: string;
  readonly weight: number;
}

/** What one unit of activation adds to each token's logit, at the scale that the final norm leaves out. */
export interface LogitWeights {
  /** The way from the decoder direction to logits, in words. */
  readonly through: string;
  /** Largest first. */
  readonly promoted: readonly TokenWeight[];
  /** Smallest first. */
  readonly suppressed: readonly TokenWeight[];
  readonly histogram: Histogram;
}

/** What the latent does to one example of the task. Effects are unmasked. */
export interface ExampleEffect {
  readonly example: number;
  readonly activation: number;
  /** Spliced logit difference of the example. */
  readonly logit_diff: number;
  readonly ablation: number | null;
  readonly ablated_logit_diff: number | null;
  readonly gradient: number | null;
}

/** Everything a dashboard shows. */
export interface DashboardData {
  /** The SAE's hook point. */
  readonly hook: string;
  readonly latent: number;
  readonly activity: {
    /** Tokens that were looked at: real ones, without the ignored ids. */
    readonly tokens: number;
    readonly active: number;
    /** active / tokens */
    readonly density: number;
    readonly rows: number;
    readonly rows_active: number;
    readonly max: number;
    /** Over active tokens. */
    readonly mean: number;
  };
  /** Of the activations > 0. */
  readonly histogram: Histogram;
  readonly groups: readonly ExampleGroup[];
  /** Null where the hook point does not write to the residual stream. */
  readonly logits: LogitWeights | null;
  /** Latents of the same SAE with the nearest decoder directions. */
  readonly neighbours: readonly { readonly latent: number; readonly cosine: number }[];
  /** Among the latents asked for together: Pearson correlation of activations over tokens. */
  readonly correlated: readonly (LatentRef & { readonly correlation: number })[];
  /** Largest |effect| first. */
  readonly effects: readonly ExampleEffect[];
  readonly neuronpedia: { readonly page: string; readonly embed: string } | null;
}
