/** @file Sessions: a model's side and a data set's side, composed for a set of adapters. */
export type {
  AnalysisDataModule,
  AnalysisModule,
  AnalysisSession,
  LifecycleHook,
  OpCollection,
  OpFile,
  Phase,
  RunDefaults,
  Split,
} from "./protocol.ts";
export type { Extension } from "./lifecycle.ts";
export { adapters, canonicalAdapters, validCombinations, type Adapter } from "./adapters.ts";
export { camelCase, kebabCase, snakeCase } from "./config/names.ts";
export { configurationPage, optionsTable, sessionJsonSchema } from "./config/describe.ts";
export { readSessionFile, type ReadOptions, type SessionFile, type SessionFileInput } from "./config/read.ts";
export type {
  ClassNode,
  Config,
  ConfigInput,
  DataModuleConfig,
  GenerationConfig,
  ModuleConfig,
  PromptConfig,
  RunConfig,
  SectionName,
  SessionConfig,
  SharedConfig,
  TrainerConfig,
} from "./config/types.ts";
export { loadComponent, type OpComposition, type SharedComponent } from "./components/component.ts";
export {
  defineDataModule,
  type ComposedDataModule,
  type DataModuleDefinition,
  type DataModuleHooks,
} from "./sides/dataModule.ts";
export type { DataModuleBase, ModuleBase } from "./sides/sides.ts";
export { loadDefinitions, type Definition } from "./sides/definitions.ts";
export { SessionError } from "./errors.ts";

export type { Log, LogStream } from "./log.ts";
export type { ComponentManifest, ComponentOptions } from "./components/manifest.ts";
export {
  memoryFigure,
  memoryStatsRows,
  memProfiler,
  parseMemProfilerConfig,
  parseSnapshotKey,
  snapshotKey,
  type MemoryStats,
  type MemoryStatsRow,
  type MemorySnapshot,
  type MemProfiler,
  type MemProfilerConfig,
  type SnapshotKey,
} from "./record/memProfiler.ts";
export {
  defineModule,
  type AdapterParts,
  type ComposedModule,
  type ModuleDefinition,
  type ModuleHooks,
  type ModuleSteps,
  type OptimizerPlan,
  type PartsOf,
} from "./sides/module.ts";
export type { SessionExtras, SessionOptions, SessionOverrides } from "./compose/overrides.ts";
export { resolveSession, type SetOptions } from "./compose/plan.ts";
export { sessionDocument } from "./record/record.ts";
export {
  Registry,
  type AdaptersOfKey,
  type RegistryEntry,
  type RegistryKey,
  type RegistryTuple,
} from "./components/registry.ts";
export type { Resources } from "./load/resources.ts";
export {
  RteBoolqDataModule,
  RteBoolqModule,
  type RteBoolqColumns,
  type RteBoolqSteps,
  type StepMetrics,
} from "./sides/rteBoolq.ts";
export { Session, type Components } from "./session.ts";
export {
  runSteps,
  type SteppedPhase,
  type SteppedSession,
  type StepsProgress,
  type StepsResult,
} from "./loop/steps.ts";
export type { TrainableSession, TrainingProgress, TrainingResult, TrainingRun } from "./loop/trainable.ts";
export { runTraining } from "./loop/training.ts";
export { saveTrained, type SavableSession, type SavedModelOrAdapters } from "./load/adapted.ts";
