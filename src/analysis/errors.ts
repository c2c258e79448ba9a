/** @file Errors of the analysis layer: stores, review tables, runs. */
import { InterpretuneError } from "../graph/errors.ts";

/** A fault in an analysis, its store or its tables: names the folder, file, table, column or option. */
export class AnalysisError extends InterpretuneError {}
