/** @file `interpretune tokenize`: the tokens of a text. */
import { loadTokenizer } from "../../model/tokenizer/index.ts";
import type { CliContext } from "../context.ts";
import { cliHub } from "../hub.ts";
import { aligned, Output } from "../output.ts";

export interface TokenizeFlags {
  readonly model: string;
  readonly text: string;
  readonly chat?: boolean;
  readonly offline?: boolean;
  readonly json?: boolean;
}

export async function tokenize(this: CliContext, flags: TokenizeFlags): Promise<void> {
  const { hub, finish } = cliHub(this, flags);
  const tokenizer = await loadTokenizer(flags.model, { hub }).finally(finish);
  const { chat = false } = flags;
  const text = chat
    ? tokenizer.applyChatTemplate([{ role: "user", content: flags.text }], { addGenerationPrompt: true })
    : flags.text;
  const { ids, tokens } = tokenizer.encode(
    text,
    chat ? { addSpecialTokens: false } : { prependBos: tokenizer.defaultPrependBos },
  );
  const strings = tokenizer.tokenStrings(ids);
  const rows = ids.map((id, i) => [String(i), String(id), tokens[i]!, JSON.stringify(strings[i]!)]);
  const output = new Output(this, flags.json);
  await output.say(`${aligned([["position", "id", "token", "text"], ...rows])}\n${ids.length} tokens`);
  await output.document({ text, ids, tokens, strings });
}
