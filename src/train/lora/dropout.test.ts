import { describe, expect, it, vi } from "vitest";
import { randomModel, shapes } from "../../../test/support/random.ts";
import { logSoftmax, uniformAt } from "../../graph/index.ts";
import { processWeights } from "../../model/weights/processing.ts";
import { HookedModel } from "../../model/index.ts";
import { Learner } from "../learner/learner.ts";
import { addLora, type Lora, type LoraOptions } from "./lora.ts";
import { loraDropout } from "./dropout.ts";

const rows = [[5, 6, 7, 8]];
const logits = async (model: HookedModel, hooks: ReturnType<typeof loraDropout> = []): Promise<number[]> =>
  (await model.withHooks(hooks).run(rows)).toArray();
const everywhere = ["*.W_Q", "*.W_K", "*.W_V", "*.W_O", "*.mlp.*"];

/** Adapters that change the model, which leave out so much. */
function adapted(model: HookedModel, dropout: number, options: LoraOptions = {}): Lora {
  return addLora(model, { rank: 2, targets: everywhere, init: false, seed: 3, dropout, ...options });
}

describe("adapters' dropout", () => {
  it.each(["gpt2", "llama"])("of all inputs leaves the model it came from: %s", async (family) => {
    const model = randomModel({ ...shapes[family]!, n_layers: 2 }, 1);
    const lora = adapted(model, 1 - 2 ** -40);
    const before = await logits(model);
    expect(await logits(lora.model)).not.toBeAllClose(before);
    expect(await logits(lora.model, loraDropout(lora, 0))).toBeAllClose(before);
  });

  it.each([
    ["gpt2", "LNPre"],
    ["llama", "RMSPre"],
  ])("is of what the file's modules read, whatever was folded away: %s", async (family, norm) => {
    const model = randomModel({ ...shapes[family]!, n_layers: 2 }, 1);
    const lora = adapted(model, 0.5);
    const { cfg, weights } = processWeights(lora.model);
    const folded = new HookedModel({ cfg, weights, runtime: model.runtime });
    expect(cfg.normalization_type).toBe(norm);
    const probabilities = async (of: HookedModel): Promise<number[]> =>
      (await of.withHooks(loraDropout(lora, 4, of)).run(rows, ({ logits }) => logSoftmax(logits, -1))).toArray();
    expect(await probabilities(folded)).toBeAllClose(await probabilities(lora.model));
  });

  it("sets inputs to 0 and scales up the others, by numbers that follow from the seed", async () => {
    const model = randomModel({ ...shapes["gpt2"]!, n_layers: 1 }, 1);
    const lora = adapted(model, 0.25, { targets: ["*.attn.W_O"] });
    const seen = ["blocks.0.attn.hook_z", "blocks.0.hook_attn_out"];
    const run = async (of: HookedModel, hooks: ReturnType<typeof loraDropout>): Promise<[number[], number[]]> => {
      const { z, out } = await of
        .withHooks(hooks)
        .run(rows, ({ hooks: at }) => ({ z: at[seen[0]!]!, out: at[seen[1]!]! }), { capture: seen });
      return [z.toArray(), out.toArray()];
    };
    const [z, without] = await run(model, []);
    const [, out] = await run(lora.model, loraDropout(lora, 7));
    const { A, B, scale } = lora.adapters.get("blocks.0.attn.W_O")!;
    const [[rank, width], outWidth] = [A.dims as [number, number], B.dims[0]!];
    const kept = z.map((x, i) => (uniformAt(7 * 4096, i) >= 0.25 ? x / 0.75 : 0));
    expect(kept.some((x) => x === 0)).toBe(true);
    const expected = without.map((base, i) => {
      const [row, o] = [Math.floor(i / outWidth), i % outWidth];
      let added = 0;
      for (let r = 0; r < rank; r++)
        for (let c = 0; c < width; c++)
          added += Number(B.data[o * rank + r]!) * Number(A.data[r * width + c]!) * kept[row * width + c]!;
      return base + scale * added;
    });
    expect(out).toBeAllClose(expected);
    const another = await run(lora.model, loraDropout(lora, 8));
    expect(another[1]).not.toBeAllClose(expected);
  });

  it("steps with it are planned once, and are those that are planned one by one", async () => {
    const model = randomModel({ ...shapes["gpt2"]!, n_layers: 1 }, 1);
    const trained = async (reuse: boolean): Promise<readonly [weights: number[], plans: number]> => {
      const lora = adapted(model, 0.5, { targets: ["*.W_Q"] });
      const { parameters, model: student } = lora;
      const learner = new Learner({ parameters, optimizer: { name: "SGD", lr: 0.1 }, runtime: model.runtime });
      const plan = vi.spyOn(model.runtime, "compileUpdate");
      for (let step = 0; step < 5; step++) {
        if (!reuse) learner.clip = {};
        const { loss } = student.withHooks(loraDropout(lora, step)).trace(student.batch(rows));
        await learner.step({ loss });
      }
      const plans = plan.mock.calls.length;
      plan.mockRestore();
      return [[...parameters.values()].flatMap((x) => x.toArray()), plans];
    };
    const [[once, plans], [each, none]] = [await trained(true), await trained(false)];
    expect(once).toEqual(each);
    expect([plans, none]).toEqual([1, 0]);
  });

  it("is refused where a projection's output cannot be seen", () => {
    const model = randomModel(shapes["gemma2"]!, 1);
    expect(() => loraDropout(adapted(model, 0.1, { targets: ["*.W_out"] }), 0)).toThrow("a norm after it");
    expect(loraDropout(adapted(model, 0.1, { targets: ["blocks.0.mlp.W_in"] }), 0)).toHaveLength(2);
    expect(loraDropout(adapted(model, 0), 0)).toEqual([]);
  });
});

const deviation = (x: readonly number[]): number => Math.sqrt(x.reduce((sum, each) => sum + each * each, 0) / x.length);

/** Of numbers that are uniform within ±1 / √fan. */
const uniform = (fan: number): number => 1 / Math.sqrt(3 * fan);

it.each([
  [true, uniform(16), 0],
  ["gaussian", 1 / 8, 0],
  [false, uniform(16), uniform(8)],
] as const)("adapters begin as PEFT's init_lora_weights has it: %s", (init, a, b) => {
  const { adapters } = addLora(randomModel(shapes["gpt2"]!, 1), { rank: 8, init, targets: everywhere });
  const all = [...adapters.values()].filter(({ A }) => A.dims[1] === 16);
  expect(deviation(all.flatMap(({ A }) => A.toArray())) / a).toBeCloseTo(1, 1);
  const B = deviation(all.flatMap(({ B }) => B.toArray()));
  if (b === 0) expect(B).toBe(0);
  else expect(B / b).toBeCloseTo(1, 1);
});
