/** @file Who acts while a module is trained. */
export { earlyStopping, type EarlyStopping, type EarlyStoppingOptions } from "./earlyStopping.ts";
export { modelCheckpoint, type ModelCheckpoint, type ModelCheckpointOptions } from "./modelCheckpoint.ts";
export type { MonitorMode } from "./monitor.ts";
export { progressBar } from "./progressBar.ts";
export { learningRateMonitor, timer, type Timer } from "./watching.ts";
