/** @file `interpretune generate`: a model goes on with a prompt. */
import type { TokenBatch } from "../../model/index.ts";
import type { HookedModel } from "../../model/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { readInput } from "../inputs.ts";
import { load } from "../loading.ts";
import { Output, write } from "../output.ts";

export interface GenerateFlags {
  readonly model: string;
  readonly prompt?: string;
  readonly tokens?: string;
  readonly maxNewTokens: number;
  readonly greedy?: boolean;
  readonly chat?: boolean;
  readonly threads?: number;
  readonly offline?: boolean;
  readonly json?: boolean;
}

export async function generate(this: CliContext, flags: GenerateFlags): Promise<void> {
  const { model } = await load(this, flags);
  const batch =
    flags.chat === true
      ? chatBatch(model, flags)
      : await readInput(model, { text: flags.prompt, tokens: flags.tokens }, ["--prompt", "--tokens"]);
  const output = new Output(this, flags.json);
  const people = flags.json === true ? this.process.stderr : this.process.stdout;
  const newTokens: number[][] = batch.ids.map(() => []);
  const texts = batch.ids.map(() => "");
  let finished: readonly boolean[] = [];
  const start = performance.now();
  const stream = model.generateStream(batch, {
    maxNewTokens: flags.maxNewTokens,
    greedy: flags.greedy ?? false,
    signal: this.signal,
  });
  for await (const step of stream) {
    step.tokens.forEach((token, row) => {
      if (finished[row] !== true) newTokens[row]!.push(token);
      texts[row]! += step.text[row] ?? "";
    });
    finished = step.finished;
    if (batch.batchSize === 1) await write(people, model.hasTokenizer ? step.text[0]! : `${step.tokens[0]} `);
  }
  const seconds = (performance.now() - start) / 1000;
  if (batch.batchSize === 1) await write(people, "\n");
  else
    for (const [row, ids] of newTokens.entries())
      await output.say(`${row}: ${model.hasTokenizer ? JSON.stringify(texts[row]) : ids.join(" ")}`);
  const count = newTokens.reduce((n, ids) => n + ids.length, 0);
  await write(this.process.stderr, `${count} tokens, ${(count / seconds).toFixed(1)} per second\n`);
  const rows = newTokens.map((ids, row) => ({
    prompt_ids: batch.ids[row]!.filter((_, p) => batch.mask[row]![p] === 1),
    ids,
    text: model.hasTokenizer ? texts[row]! : null,
    finished: finished[row] ?? false,
  }));
  await output.document({ rows, seconds });
}

function chatBatch(model: HookedModel, flags: GenerateFlags): TokenBatch {
  if (flags.prompt === undefined || flags.tokens !== undefined)
    throw new CliError("--chat puts the template around --prompt", { code: "cli/flag" });
  const text = model.tokenizer.applyChatTemplate([{ role: "user", content: flags.prompt }], {
    addGenerationPrompt: true,
  });
  return model.batch(model.tokenizer.encode(text, { addSpecialTokens: false }).ids);
}
