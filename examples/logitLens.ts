// The logit lens and direct logit attribution: what would the model say after each block, and which heads say it?
import { accumulatedResid, HookedModel, logitAttrs, matmul, stackHeadResults } from "interpretune";
import { exampleArguments } from "./arguments.ts";

const model = await HookedModel.load(exampleArguments().model);
const prompt = "The Eiffel Tower is in";
const lens = await model.run(prompt, ({ hooks }) => {
  const { values, labels } = accumulatedResid(model, hooks, { applyLn: true, pos: -1 });
  return { labels, logits: matmul(values, model.weight("unembed.W_U")).select(1, 0) }; // [state, d_vocab]
});
const width = lens.logits.dims[1]!;
for (const [i, label] of lens.labels.entries()) {
  const row = Array.from(lens.logits.data.slice(i * width, (i + 1) * width), Number);
  console.log(label.padEnd(10), JSON.stringify(model.toText([row.indexOf(Math.max(...row))])));
}

const [answer] = model.topTokens(await model.run(prompt), { k: 1 });
const heads = await model.run(prompt, ({ hooks }) => {
  const { values, labels } = stackHeadResults(model, hooks, { pos: -1 });
  return { labels, attrs: logitAttrs(model, hooks, values, { tokens: answer!.id, pos: -1 }) }; // [head, batch]
});
const shares = heads.attrs.toArray().map((logit, i) => ({ head: heads.labels[i], logit }));
console.log(`towards ${JSON.stringify(answer!.token)}:`);
console.table(shares.sort((a, b) => b.logit - a.logit).slice(0, 5));
