/** @file Results of one analysis, batch by batch, as one. */
import { AnalysisError } from "../errors.ts";
import { analysisResult, concatLatents, type AnalysisResult } from "./four.ts";

/**
 * The results of consecutive batches as one: what a loop of one's own leaves, ready for review.
 * @throws AnalysisError when there are none, when they are of different analyses or hooks, or not in order
 * @example
 * const data = await openDataset("rte/validation.jsonl");
 * const parts = [];
 * for await (const batch of batches(data, { tokenizer, batchSize: 2 }))
 *   parts.push((await analyzeBatch(model, saes, batch, { analyses: ["logit_diffs_sae"] })).logit_diffs_sae!);
 * joinResults(parts).examples.length; // 3
 */
export function joinResults(parts: readonly AnalysisResult[]): AnalysisResult {
  const [first] = parts;
  if (first === undefined)
    throw new AnalysisError("there are no results to join", { code: "analysis/join", expected: "one batch or more" });
  const kind = ({ analysis, hooks }: AnalysisResult): string =>
    [analysis, ...hooks.map(({ name, width }) => `${name} (${width})`)].join(", ");
  const stranger = parts.find((part) => kind(part) !== kind(first));
  if (stranger !== undefined)
    throw new AnalysisError("results of different analyses do not join", {
      code: "analysis/join",
      expected: kind(first),
      received: kind(stranger),
    });
  const latents = concatLatents(
    first.analysis,
    parts.map((part) => part.latents),
  );
  const examples = parts.flatMap((part) => part.examples);
  return analysisResult(first.analysis, first.hooks, examples, latents);
}
