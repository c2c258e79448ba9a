/** @file The one error shape of the project: errors are data, a message is rendered from it. */

/** What an error knows beside its sentence. Every field is optional, every present one is shown to the user. */
export interface ErrorFacts {
  /** A stable identifier, `layer/kind`, for programs that react to errors. */
  code: string;
  expected?: string;
  received?: string;
  /** File and line, tensor name, operation and shapes: whatever locates the fault. */
  where?: string;
  /** What to do about it. */
  hint?: string;
  /** What led to it. One of our own is told below the sentence, on a line of its own. */
  cause?: unknown;
}

/**
 * The base of every error this package throws on purpose. `code`, `expected`, `received`, `where` and `hint` are
 * data; `message` is the sentence made of them.
 * @example
 * try {
 *   matmul(leaf(new Float32Array(2), [1, 2]), leaf(new Float32Array(3), [1, 3]));
 * } catch (error) {
 *   if (error instanceof InterpretuneError) console.log(error.code); // graph/matmul
 * }
 */
export class InterpretuneError extends Error {
  readonly code: string;
  readonly expected: string | undefined;
  readonly received: string | undefined;
  readonly where: string | undefined;
  readonly hint: string | undefined;

  constructor(message: string, facts: ErrorFacts) {
    const parts = [message];
    if (facts.where !== undefined) parts.push(`in ${facts.where}`);
    if (facts.expected !== undefined) parts.push(`expected ${facts.expected}`);
    if (facts.received !== undefined) parts.push(`got ${facts.received}`);
    const sentence = parts.join("; ") + (facts.hint === undefined ? "" : ` (${facts.hint})`);
    const reason = facts.cause instanceof InterpretuneError ? `\n  because ${facts.cause.message}` : "";
    super(sentence + reason, { cause: facts.cause });
    this.name = new.target.name;
    this.code = facts.code;
    this.expected = facts.expected;
    this.received = facts.received;
    this.where = facts.where;
    this.hint = facts.hint;
  }
}

/** A fault in building or differentiating an expression: names the operation, the axes and the shapes. */
export class GraphError extends InterpretuneError {}
