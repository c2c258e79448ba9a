/** @file Steps of a session's training on the demo's model: planned once for each shape of batch, or each time anew. */
import { HookedModel } from "../src/model/index.ts";
import { Runtime } from "../src/runtime/index.ts";
import { Learner, trainable } from "../src/train/index.ts";
import { ms, report } from "./lib.ts";

const runtime = new Runtime();
const { model, parameters } = trainable(await HookedModel.load("demo/model", { runtime }));
const learner = new Learner({ parameters, optimizer: { name: "AdamW", lr: 1e-5 }, runtime });
const length = 48;
for (const rows of [2, 8, 32]) {
  const step = async (i: number, anew: boolean): Promise<number> => {
    const ids = Array.from({ length: rows }, (_, r) =>
      Array.from({ length }, (__, p) => 3 + ((31 * i + 17 * r + 7 * p) % 50)),
    );
    const start = performance.now();
    const { loss } = model.trace(model.batch(ids));
    // A step with updates of its own is never one of several.
    await learner.step({ loss, ...(anew && { updates: new Map() }) });
    return performance.now() - start;
  };
  const times: [anew: number[], reused: number[]] = [[], []];
  for (let i = 0; i < 16; i++) for (const anew of [true, false]) times[anew ? 0 : 1].push(await step(i, anew));
  const [anew, reused] = times.map((all) => all.slice(3).sort((a, b) => a - b)[6]!) as [number, number];
  report({
    row: 4,
    what: `session's training step, demo model, ${rows} × ${length} tokens: planned once against anew`,
    ours: ms(reused),
    theirs: `${ms(anew)} (anew)`,
    ratio: anew / reused,
    bar: "> 1.1×",
    holds: anew / reused > 1.1,
  });
}
await runtime.dispose();
