// Steering: the difference of two prompts' residual streams, added to every later token while the model writes.
import { HookedModel, leaf } from "interpretune";
import { exampleArguments } from "./arguments.ts";

const model = await HookedModel.load(exampleArguments().model);
const layer = Math.floor(model.cfg.n_layers / 2);
const name = `blocks.${layer}.hook_resid_pre`;
const last = async (text: string): Promise<Float32Array> => {
  const { cache } = await model.runWithCache(text, { names: name });
  return (cache.get(name).data as Float32Array).slice(-model.cfg.d_model);
};
const [warm, cold] = [await last("I am so happy that I love you"), await last("I am so angry that I hate you")];
const direction = leaf(
  warm.map((x, i) => 2 * (x - cold[i]!)),
  [model.cfg.d_model],
);

const prompt = "I think that you are a";
const write = async (hooks?: Parameters<typeof model.generate>[1]): Promise<string> =>
  (await model.generate(prompt, { maxNewTokens: 10, greedy: true, ...hooks })).text[0]!;
console.log("as it is:", await write());
console.log("steered: ", await write({ hooks: [[name, (resid) => resid.add(direction)]] }));
