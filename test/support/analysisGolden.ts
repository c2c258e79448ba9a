/** @file The analysis goldens as results: rows built from the tensors that the Python originals computed. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import {
  analysisResult,
  type AnalysisName,
  type AnalysisResult,
  type ExampleRow,
  type LatentRow,
} from "../../src/analysis/tables/index.ts";
import { fileSource, openSafetensors } from "../../src/formats/index.ts";

interface Report {
  case: { name: string; saes: { hook: string; d_sae: number }[]; batches: number[][] };
  hooks: string[];
  interpretune?: {
    ops: Record<
      "base" | "sae" | "grad" | "ablation",
      { total_correct: number; percentage_correct: number; batch_predictions: number[][] | null }
    >;
    tables: Record<
      string,
      Record<"combined_top5" | "per_hook_top3" | "by_mean_effect_negative", Record<string, string>>
    >;
  };
}

/** A tensor with `at(...indices)`; negative indices count from the end. */
export interface Golden {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
  at(...indices: number[]): number;
}

export interface AnalysisCase {
  readonly report: Report;
  readonly tensor: (name: string) => Golden;
  readonly results: Record<"base" | "sae" | "grad" | "ablation", AnalysisResult>;
}

const committed = new URL("../goldens/analysis/", import.meta.url);
const shared = new URL("../../../shared/goldens/analysis/", import.meta.url);

/** The committed cases; more lie in the shared material beside a developer's checkout. */
export const analysisCases: readonly string[] = [
  "two-hook-z",
  "two-hook-z-right-padded",
  "resid-jumprelu-and-hook-z",
  "unequal-widths",
  "three-choices",
];
export const sharedAnalysisCases: readonly string[] = ["two-hook-z-explicit-mask", "two-hook-z-no-bos", "four-choices"];

/** Why a case cannot run here; undefined when it can. */
export function missingCase(name: string): string | undefined {
  const there = [committed, shared].some((folder) => existsSync(new URL(`${name}/golden.json`, folder)));
  return there ? undefined : `${new URL(name, shared).pathname} is not there`;
}

export async function analysisCase(name: string): Promise<AnalysisCase> {
  const own = new URL(`${name}/`, committed);
  const folder = existsSync(new URL("golden.json", own)) ? own : new URL(`${name}/`, shared);
  const report = JSON.parse(await readFile(new URL("golden.json", folder), "utf8")) as Report;
  const file = await openSafetensors(await fileSource(fileURLToPath(new URL("golden.safetensors", folder))));
  const all = await file.readMany();
  await file.close();
  const tensor = (key: string): Golden => {
    const { shape } = file.info(key);
    const data = Float64Array.from(all.get(key) as Float32Array | Int32Array);
    const at = (...indices: number[]): number =>
      data[
        indices.reduce((offset, index, axis) => offset * shape[axis]! + (index < 0 ? index + shape[axis]! : index), 0)
      ]!;
    return { shape, data, at };
  };
  return { report, tensor, results: results(report, tensor) };
}

function results(report: Report, tensor: (name: string) => Golden): AnalysisCase["results"] {
  const hooks = report.hooks.map((name, i) => ({ name, width: report.case.saes[i]!.d_sae }));
  const examples: { base: ExampleRow[]; sae: ExampleRow[] } = { base: [], sae: [] };
  const latents: { sae: LatentRow[]; grad: LatentRow[]; ablation: LatentRow[] } = { sae: [], grad: [], ablation: [] };
  let first = 0;
  report.case.batches.forEach(({ length }, batch) => {
    const get = (name: string): Golden => tensor(`batch${batch}.${name}`);
    const positions = get("answer_indices");
    for (let b = 0; b < length; b++) {
      const example = first + b;
      for (const run of ["base", "sae"] as const) {
        const logits = get(`${run}.logits`);
        const answers = get(`${run}.answer_logits`);
        const row = Float64Array.from({ length: logits.shape[2]! }, (_, v) => logits.at(b, positions.at(b), v));
        const label = get("label_ids").at(b);
        examples[run].push({
          example,
          batch,
          label_ids: label,
          orig_labels: get("labels").at(b),
          answer_indices: positions.at(b),
          loss: Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[label]!,
          logit_diffs: get(`${run}.logit_diffs`).at(b),
          preds: get(`${run}.preds`).at(b),
          answer_logits: Array.from({ length: answers.shape[1]! }, (_, c) => answers.at(b, c)),
        });
      }
      for (const { name: hook, width } of hooks) {
        const acts = get(`sae.${hook}`);
        const alive = Array.from(get(`alive.${hook}`).data);
        for (let latent = 0; latent < width; latent++) {
          const activation = acts.at(b, positions.at(b), latent);
          if (!(activation > 0)) continue;
          const row = { example, hook, latent, activation };
          const ablated = get(`ablation.diffs_at_answer.${hook}`).at(alive.indexOf(latent), b);
          latents.sae.push(row);
          latents.grad.push({ ...row, attribution_values: get(`grad.attribution_at_answer.${hook}`).at(b, latent) });
          latents.ablation.push({
            ...row,
            attribution_values: get("sae.logit_diffs").at(b) - ablated,
            ablated_logit_diff: ablated,
            ablated_loss: NaN, // the goldens have it per batch only
            ablated_pred: get(`ablation.preds.${hook}`).at(alive.indexOf(latent), b),
          });
        }
      }
    }
    first += length;
  });
  const make = (name: AnalysisName, run: "base" | "sae", rows: LatentRow[]): AnalysisResult =>
    analysisResult(name, hooks, examples[run], rows);
  return {
    base: make("logit_diffs_base", "base", []),
    sae: make("logit_diffs_sae", "sae", latents.sae),
    grad: make("logit_diffs_attr_grad", "sae", latents.grad),
    ablation: make("logit_diffs_attr_ablation", "sae", latents.ablation),
  };
}
