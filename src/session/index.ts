/** @file Sessions: a model's side and a data set's side, composed for a set of adapters. */
export type { AnalysisDataModule, AnalysisModule, AnalysisSession, LifecycleHook, Phase, Split } from "./protocol.ts";
