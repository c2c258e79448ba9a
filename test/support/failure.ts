/** What a piece of work fails with. */
import { expect } from "vitest";

type Kind<E extends Error> = abstract new (...args: never[]) => E;

/** The error of this class with which some work ends. */
export async function failure<E extends Error>(kind: Kind<E>, work: Promise<unknown> | (() => unknown)): Promise<E> {
  const error: unknown = await Promise.resolve()
    .then(() => (typeof work === "function" ? work() : work))
    .then(
      () => "no error",
      (caught: unknown) => caught,
    );
  expect(error).toBeInstanceOf(kind);
  return error as E;
}

/** The error of this class that a function throws. */
export function thrown<E extends Error>(kind: Kind<E>, work: () => unknown): E {
  let error: unknown = "no error";
  try {
    work();
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(kind);
  return error as E;
}
