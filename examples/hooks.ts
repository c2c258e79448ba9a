// Hooks in ten lines: what does the model say next without the heads of its first block?
import { HookedModel } from "interpretune";
import { exampleArguments } from "./arguments.ts";

const model = await HookedModel.load(exampleArguments().model);
const prompt = "The Eiffel Tower is in";
const before = await model.run(prompt);
const after = await model.run(prompt, { hooks: [["blocks.0.attn.hook_z", (z) => z.mul(0)]] });
console.table(model.topTokens(before, { k: 3 }));
console.table(model.topTokens(after, { k: 3 }));
