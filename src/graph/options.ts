/** @file Options under names that nobody reads, found where they are given. */
import type { ErrorFacts, InterpretuneError } from "./errors.ts";
import { nearest } from "./nearest.ts";

/** The names of a type of options; the compiler sees that none is missing. */
export type OptionNames<T> = { readonly [Name in keyof Required<T>]: true };

/** @param where what takes the options, as it is called */
export type OptionsCheck = (options: object, names: Readonly<Record<string, true>>, where: string) => void;

/** A check of a layer's options: looks at names only, and throws that layer's error with the nearest ones. */
export function optionsCheck(
  Failure: new (message: string, facts: ErrorFacts) => InterpretuneError,
  code: string,
): OptionsCheck {
  return (options, names, where) => {
    for (const name in options) {
      if (Object.hasOwn(names, name)) continue;
      const near = nearest(name, Object.keys(names), 1, 0.6);
      throw new Failure(`${where} has no option ${name}`, {
        code,
        expected: `one of ${Object.keys(names).join(", ")}`,
        received: name,
        hint: near.length > 0 ? `did you mean ${near[0]}?` : undefined,
      });
    }
  };
}

/** The fields that are not undefined. */
export function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
