/** @file Errors of loading and running models. */
import { InterpretuneError } from "../graph/errors.ts";

/** A fault in a model's files, configuration, inputs or hooks. */
export class ModelError extends InterpretuneError {}
