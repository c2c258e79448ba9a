/** @file Errors of reports. */
import { InterpretuneError } from "../graph/errors.ts";

/** A fault in what a report is asked to show, or in where it is to be written. */
export class ReportError extends InterpretuneError {}
