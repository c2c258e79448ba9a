/** @file Parsers and flags that several commands share. */
import type { TypedFlagParameter } from "@stricli/core";
import { CliError } from "./failure.ts";

const wrong = (expected: string, received: string): CliError =>
  new CliError("wrong value", { code: "cli/flag", expected, received: JSON.stringify(received) });

/** 1, 2, 3 … */
export function positiveInteger(text: string): number {
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text)) && Number(text) > 0) return Number(text);
  throw wrong("an integer from 1", text);
}

/** `9,10`: layers; negative ones count from the end. */
export function layerList(text: string): number[] {
  if (/^-?\d+(,-?\d+)*$/.test(text)) return text.split(",").map(Number);
  throw wrong("layer numbers with commas between them, such as 9,10", text);
}

/** The short and the full names of the analyses. */
const analysisAliases = {
  base: "logit_diffs_base",
  sae: "logit_diffs_sae",
  grad: "logit_diffs_attr_grad",
  ablation: "logit_diffs_attr_ablation",
} as const;
type AnalysisName = (typeof analysisAliases)[keyof typeof analysisAliases];

/** `base,sae,grad,ablation`, or the full names. */
export function analysisList(text: string): AnalysisName[] {
  const entries = Object.entries(analysisAliases);
  return text.split(",").map((item) => {
    const found = entries.find(([short, full]) => item === short || item === full || `logit_diffs_${item}` === full);
    if (found !== undefined) return found[1];
    throw wrong(`a list of ${entries.map(([short]) => short).join(", ")} (or ${entries[0]![1]} …)`, text);
  });
}

/** A flag with any text as value. */
export interface TextFlag {
  readonly kind: "parsed";
  readonly parse: (input: string) => string;
  readonly placeholder: string;
  readonly brief: string;
}

export const textFlag = (placeholder: string, brief: string): TextFlag => ({
  kind: "parsed",
  parse: (input) => input,
  placeholder,
  brief,
});

export const booleanFlag = (brief: string): TypedFlagParameter<boolean | undefined> => ({
  kind: "boolean",
  optional: true,
  withNegated: false,
  brief,
});

/** Flags that several commands have, by name. */
export const shared: {
  readonly model: TextFlag;
  readonly saes: TypedFlagParameter<readonly string[] | undefined>;
  readonly threads: TypedFlagParameter<number | undefined>;
  readonly errorTerm: TypedFlagParameter<boolean | undefined>;
  readonly json: TypedFlagParameter<boolean | undefined>;
  readonly offline: TypedFlagParameter<boolean | undefined>;
  readonly streaming: TypedFlagParameter<boolean | undefined>;
  readonly report: TypedFlagParameter<string | undefined>;
} = {
  model: textFlag(
    "M",
    "Model: folder (Hugging Face's, TransformerLens'), .gguf file, or hub id (gpt2, owner/name@rev)",
  ),
  saes: {
    ...textFlag("SAE", "SAE or transcoder: folder, file, or id (release/id, owner/repo/folder); repeat for more"),
    variadic: true,
    optional: true,
  },
  threads: {
    kind: "parsed",
    parse: positiveInteger,
    optional: true,
    placeholder: "N",
    brief: "Threads [default = all cores]",
  },
  errorTerm: booleanFlag("Splice SAEs with their error term"),
  offline: booleanFlag("Use only what is in the hub's cache"),
  streaming: booleanFlag("Read a data set of the hub by ranges, as it is needed, and keep nothing of it"),
  report: {
    ...textFlag("FILE", "Also write the run as one HTML page [default place = report.html in --out]"),
    inferEmpty: true,
    optional: true,
  },
  json: booleanFlag("Write one JSON document to stdout, all else to stderr"),
};

/** A command's text: what it does, then an example to copy. */
export const docs = (brief: string, more: string, example: string): { brief: string; fullDescription: string } => ({
  brief,
  fullDescription: `${brief}.${more === "" ? "" : ` ${more}`}\n\nEXAMPLE\n${example.replace(/^/gm, "  ")}`,
});
