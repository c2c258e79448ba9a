/** @file Interpretune: open language models up. Re-exports of every layer. */
export * from "./graph/index.ts";
export * from "./runtime/index.ts";
export * from "./display/index.ts";
export * from "./model/index.ts";
export * from "./sae/index.ts";
export * from "./data/index.ts";
export * from "./train/index.ts";
export * from "./session/index.ts";
export * from "./analysis/index.ts";
