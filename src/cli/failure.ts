/** @file Failures on the command line: one sentence on stderr, an exit code, never a stack. */
import { ArgumentScannerError, formatMessageForArgumentScannerError } from "@stricli/core";
import { InterpretuneError, type ErrorFacts } from "../graph/errors.ts";

/** A fault in what a command was given. */
export class CliError extends InterpretuneError {}

/** The reason of a signal that a person or the system aborted. */
export class Interrupted extends InterpretuneError {
  readonly signal: string;
  readonly exitCode: number;

  constructor(signal: string, exitCode: number, facts: Partial<ErrorFacts> = {}) {
    super(`interrupted by ${signal}`, { code: "cli/interrupted", ...facts });
    this.signal = signal;
    this.exitCode = exitCode;
  }

  /** The same, saying what becomes of what was done. */
  goesOn(hint: string): Interrupted {
    return new Interrupted(this.signal, this.exitCode, { hint });
  }
}

/** Exit codes: 1 a failed command, 2 a wrong command line, 128 + n a signal. */
export const exitCodes = { failure: 1, usage: 2 } as const;

/** The exit code of a command that threw. */
export function exitCodeOf(error: unknown): number {
  return error instanceof Interrupted ? error.exitCode : exitCodes.failure;
}

/** What a person reads when a command threw. Bugs say how to see more. */
export function describeFailure(error: unknown, debug: boolean): string {
  if (debug && error instanceof Error && error.stack !== undefined) return `error: ${error.stack}`;
  if (error instanceof InterpretuneError) return `error: ${error.message}`;
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return `error: ${text.split("\n")[0]} (unexpected; INTERPRETUNE_DEBUG=1 shows where)`;
}

const kebab = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** What a person reads when flags or arguments are wrong. */
export function describeUsageFault(error: unknown): string {
  if (!(error instanceof ArgumentScannerError)) return describeFailure(error, false);
  const message = formatMessageForArgumentScannerError(error, {
    FlagNotFoundError: ({ input, corrections }) => {
      const near = corrections.map((name) => `--${kebab(name)}`);
      return `no flag is called --${input}${near.length > 0 ? `, did you mean ${near.join(" or ")}?` : ""}`;
    },
    EnumValidationError: ({ externalFlagName, input, values }) =>
      `--${kebab(externalFlagName)} is one of ${values.join(", ")}; got ${JSON.stringify(input)}`,
    ArgumentParseError: ({ externalFlagNameOrPlaceholder: name, exception }) =>
      `--${kebab(name)}: ${exception instanceof Error ? exception.message : String(exception)}`,
    UnsatisfiedFlagError: ({ externalFlagName, nextFlagName }) =>
      nextFlagName === undefined
        ? `--${kebab(externalFlagName)} is needed`
        : `--${kebab(externalFlagName)} needs a value before --${kebab(nextFlagName)}`,
  });
  return `error: ${message}`;
}
