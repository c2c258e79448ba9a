import { InterpretuneError } from "../graph/errors.ts";

/** A fault in a session: its configuration (with file, line and column), its composition, its registry or its lifecycle. */
export class SessionError extends InterpretuneError {}
