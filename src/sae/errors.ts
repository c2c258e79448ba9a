/** @file Errors of loading and running sparse autoencoders. */
import { InterpretuneError } from "../graph/errors.ts";
import { optionsCheck, type OptionsCheck } from "../graph/options.ts";

/** A fault in an SAE's files, configuration or use: names the file, tensor or hook point. */
export class SaeError extends InterpretuneError {}

/** @throws SaeError with the nearest name for an option that nobody reads */
export const checkSaeOptions: OptionsCheck = optionsCheck(SaeError, "sae/options");
