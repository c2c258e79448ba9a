/** @file Errors of loading and running models. */
import { InterpretuneError } from "../graph/errors.ts";
import { optionsCheck, type OptionsCheck } from "../graph/options.ts";

/** A fault in a model's files, configuration, inputs or hooks. */
export class ModelError extends InterpretuneError {}

/** @throws ModelError with the nearest name for an option that nobody reads */
export const checkModelOptions: OptionsCheck = optionsCheck(ModelError, "model/options");
