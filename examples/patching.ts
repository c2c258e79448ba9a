// Activation patching: which position, entering which block, carries the answer? Each patched run of the second prompt gets
// the residual stream of the first at one place.
import { activationPatch, HookedModel, Table, type Tensor } from "interpretune";
import { exampleArguments } from "./arguments.ts";

const model = await HookedModel.load(exampleArguments().model);
const [clean, corrupted] = ["When Mary and John went out, John spoke to", "When Mary and John went out, Mary spoke to"];
const [mary, john] = [" Mary", " John"].map((name) => model.toSingleToken(name));
const diff = (logits: Tensor): Tensor => {
  const last = logits.select(1, -1); // [batch, d_vocab]
  return last.select(1, mary!).sub(last.select(1, john!)).sum();
};
const [high, low] = [clean, corrupted].map((prompt) => model.run(prompt, ({ logits }) => diff(logits)));
const [best, worst] = [(await high!).item(), (await low!).item()];
const { values } = await activationPatch(model, "resid_pre", {
  clean: clean,
  corrupted: corrupted,
  metric: (logits) =>
    diff(logits)
      .sub(worst)
      .div(best - worst),
});

const tokens = model.toStringTokens(corrupted);
const columns = tokens.map((label, i) => ({ key: `${i}`, label, format: (x: unknown) => Number(x).toFixed(2) }));
const rows = (values.toJSON() as number[][]).map((row, layer) => [layer, ...row]);
const title = "Part of the logit difference that a patch brings back";
console.log(String(new Table([{ key: "layer", label: "block" }, ...columns], rows, title)));
