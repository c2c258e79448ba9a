/** @file Errors of running graphs. */
import { InterpretuneError } from "../graph/errors.ts";

/** A fault in compiling, feeding or running a graph. */
export class RuntimeError extends InterpretuneError {}
