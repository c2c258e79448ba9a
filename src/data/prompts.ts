/** @file The tutorials' prompt and what is put around it. */
import type { Tokenizer } from "../model/tokenizer/index.ts";
import { DataError } from "./errors.ts";

/**
 * How two texts become a question, as published (joins included):
 * `package`, of the library's own config, has no space before `Does` and leaves the second text as it is;
 * `inline`, of the older tutorial, has the space and takes trailing periods off the second text.
 * With `{ context, question }` the four parts stand on lines of their own.
 * With `join` or `suffix` the style's texts between and after the two are replaced.
 */
export type PromptStyle =
  | "package"
  | "inline"
  | { readonly context: string; readonly question: string }
  | { readonly style: "package" | "inline"; readonly join?: string | undefined; readonly suffix?: string | undefined };

const JOIN = "Does the previous passage imply that ";
const SUFFIX = "? Answer with only one word, either Yes or No.";

/**
 * The question that the tutorials ask about two texts.
 *
 * @example
 * ```ts
 * taskPrompt("Cats sleep.", "Cats rest.", "inline");
 * // "Cats sleep. Does the previous passage imply that Cats rest? Answer with only one word, either Yes or No."
 * ```
 */
export function taskPrompt(first: string, second: string, style: PromptStyle = "package"): string {
  if (typeof style === "string") return taskPrompt(first, second, { style });
  if ("context" in style) return [style.context, first, style.question, second].join("\n");
  const isInline = style.style === "inline";
  const { join = isInline ? ` ${JOIN}` : JOIN, suffix = SUFFIX } = style;
  return first + join + (isInline ? second.replace(/\.+$/, "") : second) + suffix;
}

/**
 * What is put around a prompt: nothing (`plain`), the turns of Gemma or Llama 3 as the tutorials write them by hand, or
 * the tokenizer's own chat template with one user message (`template`).
 */
export type ChatFormat = "plain" | "gemma-chat" | "llama3-chat" | "template";

const HAND_WRITTEN: { readonly [format in Exclude<ChatFormat, "template">]: (text: string) => string } = {
  plain: (text) => text,
  "gemma-chat": (text) => `<bos><start_of_turn>user\n${text}<end_of_turn>\n<start_of_turn>model\n`,
  "llama3-chat": (text) =>
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\nYou are a helpful assistant." +
    `<|eot_id|><|start_header_id|>user<|end_header_id|>\n${text} <|eot_id|><|start_header_id|>assistant<|end_header_id|>\n`,
};

/**
 * Puts a chat format around a prompt, whose surrounding white space is taken off first.
 *
 * @throws DataError when the tokenizer's template is asked for and there is no tokenizer
 * @throws TokenizerError when the tokenizer has no template
 * @example
 * formatPrompt("Hi ", "gemma-chat"); // "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"
 */
export function formatPrompt(text: string, format: ChatFormat = "plain", tokenizer?: Tokenizer): string {
  const stripped = strip(text);
  if (format !== "template") return HAND_WRITTEN[format](stripped);
  if (tokenizer === undefined)
    throw new DataError("a chat template needs a tokenizer", {
      code: "data/no-tokenizer",
      hint: "use another format, or load a tokenizer",
    });
  return tokenizer.applyChatTemplate([{ role: "user", content: stripped }], { addGenerationPrompt: true });
}

/** Python's `str.strip`: Unicode white space and the four separators U+001C to U+001F. */
const strip = (text: string): string =>
  text.replace(/^[\p{White_Space}\x1c-\x1f]+/u, "").replace(/[\p{White_Space}\x1c-\x1f]+$/u, "");
