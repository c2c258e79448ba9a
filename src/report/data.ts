/** @file What a report page is drawn from: one JSON document. Types only, shared with the page's own script. */
import type { DashboardData } from "../analysis/dashboards/index.ts";

/** Numbers of 4 bytes each, little-endian, base64. */
export type Packed = string;

/** A table whose cells are read as they are. */
export interface PlainTable {
  readonly title: string;
  readonly columns: readonly { readonly label: string; readonly numeric: boolean }[];
  /** Cells as people read them, with the value to sort by where it is not the text. */
  readonly rows: readonly (readonly { readonly text: string; readonly value: number | string | null }[])[];
}

export type Outcome = "kept" | "broken" | "repaired" | "wrong";

/** One example of the task. */
export interface ReportExample {
  /** Position in the data. */
  readonly id: number;
  readonly text: string;
  /** Each token's own text, where the model's tokenizer was at hand. */
  readonly tokens?: readonly string[];
  /** The right answer. */
  readonly answer: string;
  /** What each model answers, and its logit difference; null without that analysis. */
  readonly base: { readonly diff: number; readonly answer: string; readonly loss: number } | null;
  readonly sae: { readonly diff: number; readonly answer: string; readonly loss: number } | null;
  /** Null without both analyses. */
  readonly outcome: Outcome | null;
}

export interface ReportHook {
  /** Hook point of the SAE. */
  readonly name: string;
  readonly width: number;
  /** Without the latent, where Neuronpedia has the SAE. */
  readonly neuronpedia: string | null;
}

/** One latent over all examples that count; effects are null without their analysis. */
export interface ReportLatent {
  readonly hook: number;
  readonly latent: number;
  /** Total ablation effect, with and without the mask of the published tables. */
  readonly masked: number | null;
  readonly unmasked: number | null;
  readonly gradient: number | null;
  /** Mean effect of the leading analysis and its interval. */
  readonly mean: number;
  readonly low: number | null;
  readonly high: number | null;
  readonly sd: number | null;
  readonly meanActive: number;
  /** Examples in which it is active. */
  readonly active: number;
  readonly proportion: number;
  readonly meanActivation: number;
}

export interface Agreement {
  readonly hook: number;
  readonly latents: number;
  readonly pearson: number | null;
  readonly spearman: number | null;
  readonly sameSign: number;
}

/** The whole document. */
export interface ReportData {
  readonly title: string;
  readonly facts: readonly (readonly [label: string, value: string])[];
  readonly examples: readonly ReportExample[];
  readonly hooks: readonly ReportHook[];
  /** Each field of all latents. */
  readonly latents: { readonly [Field in keyof ReportLatent]: readonly ReportLatent[Field][] };
  /** Which analysis `mean` and its interval are of, and how many examples count. */
  readonly leading: {
    readonly name: string;
    readonly effects: string;
    readonly examples: number;
    readonly level: number;
  } | null;
  /** Active latents of single examples, as columns; `example` are places in `examples`. NaN where there is no value. */
  readonly rows: {
    readonly example: Packed;
    readonly hook: Packed;
    readonly latent: Packed;
    readonly activation: Packed;
    readonly ablation: Packed | null;
    readonly ablatedDiff: Packed | null;
    readonly gradient: Packed | null;
  };
  readonly accuracy: PlainTable;
  readonly outcomes: readonly { readonly outcome: Outcome; readonly count: number; readonly change: number | null }[];
  /** McNemar's exact test of the answers that changed. */
  readonly pValue: number | null;
  readonly agreement: readonly Agreement[];
  readonly timing: PlainTable | null;
  readonly provenance: readonly {
    readonly title: string;
    readonly entries: readonly (readonly [key: string, value: string])[];
  }[];
  /** Without effects: those are in `rows`. */
  readonly dashboards: readonly Omit<DashboardData, "effects">[];
  /** What the dashboards are computed from. */
  readonly dashboardSource: string | null;
}
