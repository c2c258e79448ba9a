/** @file The options of cached activations by name; nothing else, so that the command line's flags are there at once. */

/** Options that say what is kept; the others of a training do not matter here. */
export const cachedOptionNames = [
  "contextSize",
  "seqposSlice",
  "disableConcatSequences",
  "promptsOneByOne",
  "sequenceSeparatorToken",
  "prependBos",
  "excludeSpecialTokens",
] as const;

/** An option that decides what is written. */
export type CacheOptionName = (typeof cachedOptionNames)[number] | "trainingTokens" | "storeBatchSizePrompts";
export const cacheOptionNames: readonly CacheOptionName[] = [
  ...cachedOptionNames,
  "trainingTokens",
  "storeBatchSizePrompts",
];
