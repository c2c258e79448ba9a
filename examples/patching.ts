// Activation patching: which position, entering which block, carries the answer? Both prompts are rows of one batch; at
// the patched place the second row gets the residual stream of the first. The place is data, so a block compiles once.
import { equal, HookedModel, leaf, logitDiff, range, slice, Table, unsqueeze, where, withAnswers } from "interpretune";
import { exampleArguments } from "./arguments.ts";

const model = await HookedModel.load(exampleArguments().model);
const prompts = ["When Mary and John went out, John spoke to", "When Mary and John went out, Mary spoke to"];
const [mary, john] = [" Mary", " John"].map((name) => model.toSingleToken(name));
const batch = withAnswers(model.batch(prompts), { ids: [mary!, john!], labels: [0, 0] });
const [clean, corrupted] = (await model.run(batch, ({ logits }) => logitDiff(logits, batch.answers))).toArray();

const recovered = async (layer: number, position: number): Promise<number> => {
  const here = unsqueeze(equal(range(batch.pos), leaf(BigInt64Array.of(BigInt(position)), [1])), -1); // [pos, 1]
  const diffs = await model.run(batch, ({ logits }) => logitDiff(logits, batch.answers), {
    hooks: [[`blocks.${layer}.hook_resid_pre`, (resid) => where(here, slice(resid, 0, 0, 1), resid)]],
  });
  return (Number(diffs.toArray()[1]) - Number(corrupted)) / (Number(clean) - Number(corrupted));
};

const tokens = model.toStringTokens(batch.ids[0]!);
const columns = tokens.map((label, i) => ({ key: `${i}`, label, format: (x: unknown) => Number(x).toFixed(2) }));
const rows: number[][] = [];
for (let layer = 0; layer < model.cfg.n_layers; layer++) {
  const row = [layer];
  for (const position of tokens.keys()) row.push(await recovered(layer, position));
  rows.push(row);
}
console.log(
  String(
    new Table(
      [{ key: "layer", label: "block" }, ...columns],
      rows,
      "Part of the logit difference that a patch brings back",
    ),
  ),
);
