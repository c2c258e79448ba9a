/** @file What is spliced into a model, by the hook point that it stands at. */
import { ModelError } from "../errors.ts";
import type { Splice, Spliceable } from "./hookPoint.ts";

const isMany = <Options>(
  spliced: Spliceable<Options> | Iterable<Spliceable<Options>>,
): spliced is Iterable<Spliceable<Options>> => Symbol.iterator in spliced;

/**
 * The replacements that stand for one or several SAEs, by hook point.
 * @param options how each is spliced
 * @throws ModelError when two share a hook point
 * @internal
 */
export function splicesOf<Options>(
  spliced: Spliceable<Options> | Iterable<Spliceable<Options>>,
  options?: Options,
): ReadonlyMap<string, Splice> {
  return joinedSplices(
    (isMany(spliced) ? [...spliced] : [spliced]).map((one) => [one.hookNameOut ?? one.hookName, one.splice(options)]),
  );
}

/** @throws ModelError when two share a hook point */
export function joinedSplices(...parts: readonly Iterable<readonly [string, Splice]>[]): ReadonlyMap<string, Splice> {
  const splices = new Map<string, Splice>();
  for (const [place, splice] of parts.flatMap((part) => [...part])) {
    if (splices.has(place))
      throw new ModelError("two SAEs share a hook point", {
        code: "model/splice",
        where: place,
        hint: "splice one of them at a time",
      });
    splices.set(place, splice);
  }
  return splices;
}
