/** @file The error of this layer. */
import { InterpretuneError } from "../graph/errors.ts";
import { optionsCheck, type OptionsCheck } from "../graph/options.ts";

/** A fault in training: names the parameter, the step, the schedule or the checkpoint. */
export class TrainError extends InterpretuneError {}

/** @throws TrainError for an option that does not exist, with the nearest one */
export const checkTrainOptions: OptionsCheck = optionsCheck(TrainError, "train/options");
