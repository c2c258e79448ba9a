/** @file The card of the demo's model and SAEs, from what decided them and what was measured. */
import type { SaeEvaluation } from "../src/train/index.ts";
import type { Accuracy } from "./model.ts";
import type { Recipe } from "./recipe.ts";
import type { Example } from "./task.ts";

export interface Measured {
  readonly recipe: Recipe;
  readonly parameters: number;
  /** Points of model/curve.csv. */
  readonly curve: readonly Readonly<Record<string, number>>[];
  /** On the test split: of the model, and with both SAEs in place. */
  readonly test: Accuracy;
  readonly spliced: Accuracy;
  readonly saes: Readonly<Record<string, SaeEvaluation>>;
  readonly examples: readonly Example[];
}

export const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");

/** Markdown. */
export function card({ recipe, parameters, curve, test, spliced, saes, examples }: Measured): string {
  const { model, saes: sae, held } = recipe;
  const { sizes } = model;
  const families = Object.keys(test);
  return `# The demo: a small model of natural logic, and SAEs of it

A language model of ${parameters.toLocaleString("en")} parameters that says whether a passage implies a sentence, and two sparse autoencoders of its activations. Made by \`npm run demo:train\` from rules and seeds (same threads, same files); nothing of it comes from elsewhere.

## Task

Premise, hypothesis and label, as in RTE: poodles are dogs are animals, Paris is in France is in Europe; who saw a poodle saw a dog, who did not see a dog saw no poodle, what holds for all dogs holds for each, and what holds for some poodles for some dogs. Up to two other sentences distract. Wrong hypotheses are wrong in one place. Half of all are implied. Rules: [task.ts](task.ts).

${table(
  ["", "premise", "hypothesis", "label"],
  examples.map(({ family, premise, hypothesis, label }) => [family, premise, hypothesis, label === 0 ? "Yes" : "No"]),
)}

No two splits ask about the same facts: which split a passage belongs to is a function of the facts that its questions are about (what distracts may come from any). \`data/validation.jsonl\` and \`data/test.jsonl\` hold ${held} examples each; training examples are made as they are needed.

## Model

${sizes.n_layers} layers of GPT-NeoX without parallel residuals, d_model ${sizes.d_model}, ${sizes.n_heads} heads, d_mlp ${sizes.d_mlp}, context ${sizes.n_ctx}, ReLU, rotary positions; one token a word. ${model.steps.toLocaleString("en")} steps of ${model.batch} passages with ${model.questions} questions each, AdamW, learning rate ${model.learningRate} with ${model.warmUp} steps of warm-up and a cosine, weight decay ${model.weightDecay}, seed ${model.seed}. Beside the answer it learns, after each word of a question, whether the question can still become an implied one, and the words of implied questions. Keys begin as queries. Saved as GPTNeoXForCausalLM, which transformers opens.

${table(
  ["step", "loss of answers (nats)", ...families.map((name) => `${name}, validation`)],
  curve.map((point) => [
    String(point["step"]),
    point["answers"]!.toFixed(4),
    ...families.map((name) => percent(point[name]!)),
  ]),
)}

Test: ${families.map((name) => `${name} ${percent(test[name]!)}`).join(", ")}. Every point of the curve: [model/curve.csv](model/curve.csv).

## SAEs

Top-k (k = ${sae.sae[0]!.k}), ${sae.sae[0]!.dSae} latents, trained together on ${sae.trainingTokens!.toLocaleString("en")} activations of training prompts, seed ${sae.seed}. Evaluated on validation prompts:

${table(
  ["hook point", "explained variance", "L0", "CE score", "latents that never fired"],
  Object.entries(saes).map(([name, { explainedVariance, l0, ceScore, density }]) => [
    name,
    explainedVariance.toFixed(4),
    l0.toFixed(2),
    ceScore.toFixed(4),
    String(density.filter((share) => share === 0).length),
  ]),
)}

With both spliced in, test: ${families.map((name) => `${name} ${percent(spliced[name]!)}`).join(", ")}.
`;
}
