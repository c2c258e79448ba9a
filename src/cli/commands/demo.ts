/** @file `interpretune demo`: the four analyses on a few sentences that language models finish with a name. */
import { analyzeDataset } from "../../analysis/index.ts";
import { datasetOf } from "../../data/index.ts";
import type { CliContext } from "../context.ts";
import { load } from "../loading.ts";
import { Output } from "../output.ts";
import { Progress } from "../progress.ts";
import { showRun } from "./analyze.ts";

export interface DemoFlags {
  readonly model?: string;
  readonly saes?: readonly string[];
  readonly threads?: number;
  readonly offline?: boolean;
  readonly json?: boolean;
}

const advice = `The demo needs a language model and sparse autoencoders trained on it: folders of yours, or ids, which are downloaded once:

  npm run demo -- --model gpt2 --saes gpt2-small-hook-z-kk/blocks.9.hook_z --saes gpt2-small-hook-z-kk/blocks.10.hook_z

About 850 MB. Other SAEs of a model: interpretune saes gpt2-small`;

const names = [
  ["Mary", "John"],
  ["Anna", "Tom"],
  ["Sarah", "Paul"],
  ["Jane", "Mark"],
] as const;
const scenes = [
  ["went to the store", "gave a drink to"],
  ["sat in the garden", "handed a book to"],
] as const;

/** The indirect object (Wang et al. 2022, arXiv 2211.00593): who is given something? */
const sentences: object[] = scenes.flatMap(([place, gift], s) =>
  names.map(([a, b], i) => {
    const [receiver, giver] = (s + i) % 2 === 0 ? [a, b] : [b, a];
    const prompt = `When ${receiver} and ${giver} ${place}, ${giver} ${gift}`;
    return { prompt, answers: [` ${receiver}`, ` ${giver}`], label: 0 };
  }),
);

export async function demo(this: CliContext, flags: DemoFlags): Promise<void> {
  const output = new Output(this, flags.json);
  const { model: path, saes: paths = [] } = flags;
  if (path === undefined || paths.length === 0) {
    await output.say(advice);
    await output.document({ needs: ["--model", "--saes"], advice });
    return;
  }
  const loaded = await load(this, { ...flags, model: path, saes: paths });
  const rows = sentences.map((value, i) => ({ value, where: `demo sentence ${i + 1}` }));
  const data = await datasetOf(() => rows, { name: "demo sentences", length: rows.length });
  using progress = new Progress({ label: "demo", unit: "ex", stream: this.process.stderr, signal: this.signal });
  const { model, saes } = loaded;
  const run = await analyzeDataset({
    model,
    saes,
    data,
    signal: this.signal,
    onProgress: ({ done, total }) => progress.update(done, { total }),
  });
  progress.finish();
  await showRun(output, run, { loaded, effects: "masked" });
}
