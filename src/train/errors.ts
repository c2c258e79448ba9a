/** @file The error of this layer. */
import { InterpretuneError } from "../graph/errors.ts";

/** A fault in training: names the parameter, the step, the schedule or the checkpoint. */
export class TrainError extends InterpretuneError {}
