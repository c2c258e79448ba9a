import { InterpretuneError } from "../graph/errors.ts";

/** A fault in a data file, a prompt or an answer set: names the file and line, the field and the example. */
export class DataError extends InterpretuneError {}
