/** @file The report page of a run. */
export type { ReportData, ReportLatent } from "./data.ts";
export { ReportError } from "./errors.ts";
export { reportPage, type ReportOptions } from "./report.ts";
