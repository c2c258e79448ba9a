/** @file Names near to one that is not there, for hints. */

/** Edit distance of two names. */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}

/**
 * The names nearest to one that is not there, whatever their case.
 * @param within leaves out names that differ in more than this share of the letters
 * @internal
 */
export function nearest(wanted: string, names: Iterable<string>, count = 3, within: number = Infinity): string[] {
  return [...names]
    .map((name) => ({ name, far: distance(name.toLowerCase(), wanted.toLowerCase()) }))
    .filter(({ far }) => far <= within * Math.max(1, wanted.length))
    .sort((a, b) => a.far - b.far)
    .slice(0, count)
    .map(({ name }) => name);
}
