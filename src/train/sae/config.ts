/** @file What SAE is trained: SAELens' names and defaults, in camelCase here and in snake_case in files. */
import { z } from "zod";
import { TrainError } from "../errors.ts";
import { kinds, trainableArchitectures, type TrainableArchitecture } from "./kinds.ts";

const count = z.int().positive();
const steps = z.int().nonnegative();
const coefficient = z.number().nonnegative();

/** An SAE to train, with every default filled in. Names are SAELens' in camelCase. */
export interface TrainedSaeConfig {
  readonly architecture: TrainableArchitecture;
  /** Width of the activations; a run reads it off them. */
  readonly dIn: number;
  /** Width of a transcoder's output. Default `dIn`. */
  readonly dOut: number;
  readonly dSae: number;
  readonly applyBDecToInput: boolean;
  readonly normalizeActivations: "none" | "expected_average_only_in" | "constant_norm_rescale" | "layer_norm";
  /** Norm of the decoder's rows at the start; null leaves them as drawn, and the encoder with draws of its own. */
  readonly decoderInitNorm: number | null;
  /** Weight of the sparsity loss of standard and gated. */
  readonly l1Coefficient: number;
  readonly l1WarmUpSteps: number;
  /** The p of the sparsity norm (standard). */
  readonly lpNorm: number;
  /** Weight of the sparsity loss of jumprelu. */
  readonly l0Coefficient: number;
  readonly l0WarmUpSteps: number;
  readonly jumpreluInitThreshold: number;
  readonly jumpreluBandwidth: number;
  readonly jumpreluSparsityLossMode: "step" | "tanh" | "quadratic";
  readonly jumpreluTanhScale: number;
  /** Whether the straight-through derivative also reaches the encoder (Anthropic) or the threshold alone (DeepMind). */
  readonly jumpreluSteToInput: boolean;
  readonly preActLossCoefficient: number | null;
  /** Active latents a token at which the quadratic mode aims. */
  readonly targetL0: number | null;
  /** Active latents a token; an average, and so perhaps a fraction, for batchtopk. */
  readonly k: number;
  readonly auxLossCoefficient: number;
  /** Rank latents by their activation times the norm of their decoder row. */
  readonly rescaleActsByDecoderNorm: boolean;
  /** Rate of the moving average that becomes a batchtopk's threshold. */
  readonly topkThresholdLr: number;
  /** Nested widths, rising; the last is `dSae` and is added where it is missing. */
  readonly matryoshkaWidths: readonly number[];
  /** Whether the dead latents of each width learn the error of that width. */
  readonly useMatryoshkaAuxLoss: boolean;
}

/** The options by name, each checked alone. */
export const saeOptions: {
  readonly [Name in keyof TrainedSaeConfig]: z.ZodType<
    Name extends "dOut" ? number | undefined : TrainedSaeConfig[Name]
  >;
} = {
  architecture: z.enum(trainableArchitectures).default("standard"),
  dIn: count,
  dOut: count.optional(),
  dSae: count,
  applyBDecToInput: z.boolean().default(true),
  normalizeActivations: z
    .enum(["none", "expected_average_only_in", "constant_norm_rescale", "layer_norm"])
    .default("none"),
  decoderInitNorm: z.number().positive().nullable().default(0.1),
  l1Coefficient: coefficient.default(1),
  l1WarmUpSteps: steps.default(0),
  lpNorm: z.number().positive().default(1),
  l0Coefficient: coefficient.default(1),
  l0WarmUpSteps: steps.default(0),
  jumpreluInitThreshold: z.number().nonnegative().default(0.01),
  jumpreluBandwidth: z.number().positive().default(0.05),
  jumpreluSparsityLossMode: z.enum(["step", "tanh", "quadratic"]).default("step"),
  jumpreluTanhScale: z.number().positive().default(4),
  jumpreluSteToInput: z.boolean().default(false),
  preActLossCoefficient: coefficient.nullable().default(null),
  targetL0: z.number().positive().nullable().default(null),
  k: z.number().positive().default(100),
  auxLossCoefficient: coefficient.default(1),
  rescaleActsByDecoderNorm: z.boolean().default(true),
  topkThresholdLr: z.number().min(0).max(1).default(0.01),
  matryoshkaWidths: z.array(count).default([]),
  useMatryoshkaAuxLoss: z.boolean().default(false),
};
const saeSchema = z.strictObject(saeOptions);

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camel = (name: string): string => name.replace(/_([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());

/** The names of an object in the spelling of files: `dSae` → `d_sae`. */
export const inFiles = (options: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [snake(name), value]));

/** The names of an object in the spelling of programs; both spellings are understood. */
export const inPrograms = (options: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [camel(name), value]));

/** The keys that only some architectures have, for the details SAELens keeps in cfg.json. */
const ownKeys: { readonly [Name in TrainableArchitecture]: readonly (keyof TrainedSaeConfig)[] } = (() => {
  const l1 = ["decoderInitNorm", "l1Coefficient", "l1WarmUpSteps"] as const;
  const jumprelu = [
    "decoderInitNorm",
    "jumpreluInitThreshold",
    "jumpreluBandwidth",
    "jumpreluSparsityLossMode",
    "l0Coefficient",
    "l0WarmUpSteps",
    "preActLossCoefficient",
    "jumpreluTanhScale",
    "jumpreluSteToInput",
    "targetL0",
  ] as const;
  const topk = ["decoderInitNorm", "k", "auxLossCoefficient", "rescaleActsByDecoderNorm"] as const;
  const batchtopk = [...topk, "topkThresholdLr"] as const;
  return {
    standard: [...l1, "lpNorm"],
    gated: l1,
    jumprelu,
    topk,
    batchtopk,
    matryoshka_batchtopk: [...batchtopk, "matryoshkaWidths", "useMatryoshkaAuxLoss"],
    transcoder: [...l1, "lpNorm"],
    skip_transcoder: [...l1, "lpNorm"],
    jumprelu_transcoder: jumprelu,
    jumprelu_skip_transcoder: jumprelu,
  };
})();

/** What SAELens' cfg.json keeps of a training under `training_architecture_details`. */
export const trainingDetails = (cfg: TrainedSaeConfig): Record<string, unknown> =>
  inFiles(Object.fromEntries(ownKeys[cfg.architecture].map((key) => [key, cfg[key]])));

const fault = (where: string, expected: string, received: unknown): TrainError =>
  new TrainError("this SAE cannot be trained as configured", {
    code: "train/sae-config",
    where,
    expected,
    received: JSON.stringify(received),
  });

/**
 * Checks what is to be trained and fills in SAELens' defaults. Names may be in camelCase or, as in files, in snake_case.
 * @throws TrainError naming the option, what was expected and what came
 * @example
 * parseTrainedSae({ architecture: "topk", d_in: 64, d_sae: 512, k: 16 }).rescaleActsByDecoderNorm; // true
 */
export function parseTrainedSae(given: object): TrainedSaeConfig {
  const parsed = saeSchema.safeParse(inPrograms(given));
  if (!parsed.success)
    throw new TrainError("the options of the SAE are not valid", {
      code: "train/sae-config",
      received: z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "),
    });
  const cfg = parsed.data;
  const { architecture, dIn, dSae, k } = cfg;
  const dOut = cfg.dOut ?? dIn;
  const { ranks, jumps = false, transcodes = false } = kinds[architecture];
  if (!transcodes && dOut !== dIn) throw fault("d_out", "a transcoder, or the width of the input", dOut);
  const widest = Math.floor(2 ** 30 / Math.max(dIn, dOut));
  if (dSae > widest) throw fault("d_sae", `at most ${widest}: a matrix of 4 GiB`, dSae);
  if (ranks !== undefined && k > dSae) throw fault("k", `at most d_sae = ${dSae}`, k);
  if (ranks === "token" && !Number.isInteger(k)) throw fault("k", "an integer", k);
  if (ranks !== undefined && ["constant_norm_rescale", "layer_norm"].includes(cfg.normalizeActivations))
    throw fault("normalize_activations", "none or expected_average_only_in with a topk", cfg.normalizeActivations);
  if (jumps && cfg.jumpreluSparsityLossMode === "quadratic" && !(cfg.targetL0 !== null && cfg.targetL0 <= dSae))
    throw fault("target_l0", `a number up to d_sae = ${dSae} for the quadratic loss`, cfg.targetL0);
  return { ...cfg, ...(transcodes && { applyBDecToInput: false }), dOut, matryoshkaWidths: nestedWidths(cfg) };
}

function nestedWidths({
  architecture,
  dSae,
  matryoshkaWidths: widths,
}: Pick<TrainedSaeConfig, "architecture" | "dSae" | "matryoshkaWidths">): readonly number[] {
  if (!kinds[architecture].nests) return [];
  if (widths.length === 0 || !widths.every((w, i) => w <= dSae && w > (widths[i - 1] ?? 0)))
    throw fault("matryoshka_widths", `rising widths up to d_sae = ${dSae}`, widths);
  return widths.at(-1) === dSae ? widths : [...widths, dSae];
}
