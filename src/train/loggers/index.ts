/** @file Who writes metrics down. */
export { csvLogger, jsonlLogger, type LogPoint, type MetricLogger } from "./logger.ts";
export { tensorBoardLogger } from "./tensorboard.ts";
