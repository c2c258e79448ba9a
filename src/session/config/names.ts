/** @file One name in three spellings: camelCase in TypeScript, snake_case in YAML, kebab-case as a flag. */
import { distance } from "../../model/hooks.ts";

/**
 * The name as YAML and stored columns write it.
 * @example
 * snakeCase("evalBatchSize"); // "eval_batch_size"
 */
export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * The name as TypeScript writes it.
 * @example
 * camelCase("eval_batch_size"); // "evalBatchSize"
 */
export function camelCase(name: string): string {
  return name.replaceAll(/[_-]([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/**
 * The name as a flag writes it.
 * @example
 * kebabCase("evalBatchSize"); // "eval-batch-size"
 */
export function kebabCase(name: string): string {
  return snakeCase(name).replaceAll("_", "-");
}

/** The names nearest to one that is not there, for hints. @internal */
export function nearest(wanted: string, names: Iterable<string>, count = 3): string[] {
  return [...names]
    .map((name) => ({ name, far: distance(name.toLowerCase(), wanted.toLowerCase()) }))
    .sort((a, b) => a.far - b.far)
    .slice(0, count)
    .map(({ name }) => name);
}
