/** The four analyses against values made with TransformerLens, SAELens and Interpretune. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { analyzeBatch } from "../src/analysis/run/batch.ts";
import type { AnalysisBatch } from "../src/analysis/ops/index.ts";
import type { AnalysisResult } from "../src/analysis/tables/index.ts";
import { HookedModel } from "../src/model/index.ts";
import { Sae } from "../src/sae/index.ts";
import { goldenTensors, sharedPath, type GoldenTensors } from "./support/goldens.ts";
import { shared } from "./support/shared.ts";

const root = shared("goldens/analysis");
const cases = existsSync(root) ? readdirSync(root) : [];

interface Golden {
  case: { name: string; side: "left" | "right"; mask: "from_ids" | "explicit"; bos: boolean };
  choice_ids: number[];
  hooks: string[];
}

const familyPath = sharedPath("goldens/families/gpt2");

function batchOf(tensors: GoldenTensors, i: number, golden: Golden): AnalysisBatch {
  const at = (name: string): number[] => tensors.numbers(`batch${i}.${name}`);
  const dims = tensors.dims(`batch${i}.input`) as [number, number];
  const mask = golden.case.mask === "from_ids" ? at("mask_from_ids") : at("true_mask");
  return {
    index: i,
    dims,
    tokens: at("input"),
    mask,
    answerIndices: at("answer_indices"),
    labels: at("labels"),
    classes: golden.choice_ids.length,
    answerIds: Array.from({ length: dims[0] }, () => golden.choice_ids).flat(),
    examples: Array.from({ length: dims[0] }, (_, r) => 100 * i + r),
  };
}

const column = (result: AnalysisResult, name: "logit_diffs" | "loss" | "preds"): number[] =>
  result.examples.map((e) => e[name]);

/** Dense [b, width] of a latent column at one hook. */
function dense(
  result: AnalysisResult,
  hook: number,
  name: "activation" | "attribution_values" | "ablated_logit_diff" | "ablated_loss" | "ablated_pred",
  fill: (row: number) => number,
): number[][] {
  const { width } = result.hooks[hook]!;
  const { latents } = result;
  const out = result.examples.map((_, row) => new Array<number>(width).fill(fill(row)));
  const first = result.examples[0]!.example;
  for (let i = 0; i < latents.length; i++)
    if (latents.hook[i] === hook) out[latents.example[i]! - first]![latents.latent[i]!] = latents[name]![i]!;
  return out;
}

describe.skipIf(cases.length === 0)("analysis goldens (../shared/goldens/analysis)", () => {
  describe.each(cases)("%s", (name) => {
    const golden = JSON.parse(readFileSync(`${root}/${name}/golden.json`, "utf8")) as Golden;

    const load = async (): Promise<{ model: HookedModel; saes: Sae[]; tensors: GoldenTensors }> => {
      const model = await HookedModel.load(familyPath);
      const folder = `${root}/${name}/saes`;
      const saes = await Promise.all(readdirSync(folder).map((s) => Sae.load(`${folder}/${s}`)));
      return { model, saes, tensors: await goldenTensors(`${root}/${name}/golden.safetensors`) };
    };

    test.each([false, true])("error term %s", async (useErrorTerm) => {
      const { model, saes, tensors } = await load();
      const kind = useErrorTerm ? "sae_error" : "sae";
      for (let i = 0; tensors.has(`batch${i}.input`); i++) {
        const at = (key: string): number[] => tensors.numbers(`batch${i}.${key}`);
        const result = await analyzeBatch(model, saes, batchOf(tensors, i, golden), { useErrorTerm });
        const {
          logit_diffs_base: base,
          logit_diffs_sae: sae,
          logit_diffs_attr_grad: grad,
          logit_diffs_attr_ablation: ablation,
        } = result as Required<typeof result>;
        const mean = (x: number[]): number => x.reduce((a, b) => a + b, 0) / x.length;
        expect(column(base, "logit_diffs")).toBeAllClose(at("base.logit_diffs"));
        expect([mean(column(base, "loss"))]).toBeAllClose(at("base.loss"));
        expect(column(base, "preds")).toEqual(at("base.preds"));
        expect(column(sae, "logit_diffs")).toBeAllClose(at(`${kind}.logit_diffs`));
        expect([mean(column(sae, "loss"))]).toBeAllClose(at(`${kind}.loss`));
        expect(column(sae, "preds")).toEqual(at(`${kind}.preds`));
        expect(sae.examples.flatMap((e) => [...e.answer_logits])).toBeAllClose(at(`${kind}.answer_logits`));
        const best = await analyzeBatch(model, saes, batchOf(tensors, i, golden), {
          useErrorTerm,
          diff: "best-other",
          analyses: ["logit_diffs_sae"],
        });
        expect(column(best.logit_diffs_sae!, "logit_diffs")).toBeAllClose(at(`${kind}.logit_diffs_vs_best_other`));
        golden.hooks.forEach((hook) => {
          const h = sae.hooks.findIndex((x) => x.name === hook);
          const alive = at(`alive.${hook}`);
          const activations = dense(sae, h, "activation", () => 0);
          const found = activations[0]!.flatMap((_, j) => (activations.some((row) => row[j]! > 0) ? [j] : []));
          // The goldens list the latents of the run without the error term; with it, others may be active at later SAEs.
          if (!useErrorTerm) expect(found).toEqual(alive);
          const attribution = at(`${useErrorTerm ? "grad_error" : "grad"}.attribution_at_answer.${hook}`);
          expect(dense(grad, h, "attribution_values", () => 0).flat()).toBeAllClose(attribution);
          const diffs = useErrorTerm ? "diffs_at_answer_error" : "diffs_at_answer";
          const ablated = dense(ablation, h, "ablated_logit_diff", (row) => ablation.examples[row]!.logit_diffs);
          expect(alive.flatMap((j) => ablated.map((row) => row[j]!))).toBeAllClose(at(`ablation.${diffs}.${hook}`));
          if (useErrorTerm) return;
          const losses = dense(ablation, h, "ablated_loss", (row) => ablation.examples[row]!.loss);
          expect(alive.map((j) => mean(losses.map((row) => row[j]!)))).toBeAllClose(at(`ablation.loss.${hook}`));
          const preds = dense(ablation, h, "ablated_pred", (row) => ablation.examples[row]!.preds);
          expect(alive.flatMap((j) => preds.map((row) => row[j]!))).toEqual(at(`ablation.preds.${hook}`));
        });
      }
      model.dispose();
    });

    test("ablation at all positions", async () => {
      const { model, saes, tensors } = await load();
      for (let i = 0; tensors.has(`batch${i}.input`); i++) {
        const { logit_diffs_attr_ablation: ablation } = await analyzeBatch(model, saes, batchOf(tensors, i, golden), {
          ablate: "all",
          analyses: ["logit_diffs_attr_ablation"],
        });
        golden.hooks.forEach((hook) => {
          const key = `batch${i}.ablation.diffs_all_positions.${hook}`;
          if (!tensors.has(key)) return;
          const h = ablation!.hooks.findIndex((x) => x.name === hook);
          const expected = tensors.numbers(key);
          const alive = tensors.numbers(`batch${i}.alive.${hook}`);
          const rows = ablation!.examples.length;
          const { latents } = ablation!;
          for (let r = 0; r < latents.length; r++) {
            if (latents.hook[r] !== h) continue;
            const row = latents.example[r]! - ablation!.examples[0]!.example;
            const want = expected[alive.indexOf(latents.latent[r]!) * rows + row]!;
            expect([latents.ablated_logit_diff![r]!]).toBeAllClose([want]);
          }
        });
      }
    });
  });
});
