/** @file One name in three spellings: camelCase in TypeScript, snake_case in YAML, kebab-case as a flag. */

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
