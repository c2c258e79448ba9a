import { InterpretuneError } from "../../graph/errors.ts";

/** A fault in a tokenizer's files or in a request made of it: names the file, key, token or text. */
export class TokenizerError extends InterpretuneError {}
