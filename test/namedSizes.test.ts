/** Errors about a model's tensors call fixed sizes by their names. */
import { expect, test } from "vitest";
import { add, matmul, transpose } from "../src/graph/index.ts";
import { HookedModel } from "../src/model/index.ts";
import { sharedPath } from "./support/goldens.ts";
import { shapes } from "./support/random.ts";

test("of a model with random weights", async () => {
  const model = HookedModel.fromConfig({ ...shapes["gpt2"]!, d_head: 5 }, { seed: 1 });
  await model.run([[1, 2, 3]], ({ hooks, logits }) => {
    const resid = hooks["blocks.1.hook_resid_post"]!;
    expect(() => matmul(resid, model.weight("blocks.0.mlp.W_out"))).toThrow(
      "matmul: inner dimensions differ: [batch, pos, d_model=16] × [d_mlp=24, d_model=16] (did you mean transposeB?)",
    );
    expect(() => add(hooks["blocks.1.attn.hook_z"]!, model.weight("blocks.1.attn.W_O"))).toThrow(
      "[batch, pos, head=4, d_head=5] and [head=4, d_head=5, d_model=16]",
    );
    expect(() => add(logits, resid)).toThrow("[batch, pos, d_vocab_out=30] and [batch, pos, d_model=16]");
    return logits;
  });
});

test("of a model from a file, whatever its layout there", async () => {
  const model = await HookedModel.load(sharedPath("goldens/families/gpt2"));
  const { d_model, d_mlp, d_vocab } = model.cfg;
  expect(() => matmul(model.weight("blocks.0.mlp.W_in"), transpose(model.weight("embed.W_E")))).toThrow(
    `[d_model=${d_model}, d_mlp=${d_mlp!}] × [d_model=${d_model}, d_vocab=${d_vocab}]`,
  );
  model.dispose();
});
