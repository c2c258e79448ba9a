/** @file Errors of loading and running sparse autoencoders. */
import { InterpretuneError } from "../graph/errors.ts";

/** A fault in an SAE's files, configuration or use: names the file, tensor or hook point. */
export class SaeError extends InterpretuneError {}
