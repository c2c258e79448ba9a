// Your own data: rows of a prompt, its answers and which of them is right. The four analyses, and the latents that count.
import {
  accuracyTable,
  analyzeDataset,
  attributionTables,
  datasetOf,
  HookedModel,
  latentMetrics,
  Sae,
} from "interpretune";
import { exampleArguments } from "./arguments.ts";

const options = exampleArguments(["saes"]);
const model = await HookedModel.load(options.model);
const saes = await Promise.all(options.saes.map((folder) => Sae.load(folder)));

const pairs = [
  ["Mary", "John"],
  ["John", "Mary"],
] as const;
const rows = pairs.map(([giver, taker]) => ({
  prompt: `When ${giver} and ${taker} went out, ${giver} gave a drink to`,
  answers: [` ${taker}`, ` ${giver}`],
  label: 0,
}));
const data = await datasetOf(() => rows.map((value, i) => ({ value, where: `row ${i}` })), { name: "drinks" });

const { results } = await analyzeDataset({ model, saes, data, batchSize: 2, out: options.out });
console.log(String(accuracyTable(Object.values(results))));
console.log(String(attributionTables(latentMetrics(results.logit_diffs_attr_ablation!), { topK: 3 })));
