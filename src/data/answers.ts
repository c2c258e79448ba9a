/** @file The answers that are compared: one token for each class. */
import type { Tokenizer } from "../model/tokenizer/index.ts";
import { DataError } from "./errors.ts";
import type { RowKind } from "./rows.ts";

/**
 * The answer of one class: a token id, an exact vocabulary string (`Yes`, or `ĠYes` with its space, as the vocabulary
 * writes it), or variants of one, of which the longest that the vocabulary has is taken.
 */
export type Answer = number | string | readonly string[];

/** One token for each class. */
export interface AnswerSet {
  readonly ids: readonly number[];
  readonly names: readonly string[];
}

/** The published answers: class 0 of RTE is entailment, so Yes; class 0 of BoolQ is false, so No. */
const DEFAULTS: { readonly [kind in RowKind]: readonly string[] | null } = {
  rte: ["Yes", "No"],
  boolq: ["No", "Yes"],
  prompt: null,
  input_ids: null,
};

/**
 * The answers that a kind of rows has when nobody names them; null when there are none.
 * @example
 * defaultAnswers("boolq"); // ["No", "Yes"]
 */
export const defaultAnswers = (kind: RowKind): readonly string[] | null => DEFAULTS[kind];

/**
 * Reads the answers of a command line: `2,3` are ids because all are integers; anything else is exact vocabulary
 * strings, no space added; `text:2` is the string `2`.
 *
 * @throws DataError when there are fewer than two or one is empty
 * @example
 * ```ts
 * parseAnswers("Yes,No");     // ["Yes", "No"]
 * parseAnswers("2,3");        // [2, 3]
 * parseAnswers("text:2,3");   // ["2", "3"]
 * ```
 */
export function parseAnswers(list: string): Answer[] {
  const items = list.split(",");
  const areIds = items.every((item) => /^\d+$/.test(item));
  const answers: Answer[] = items.map((item) => (areIds ? Number(item) : item.replace(/^text:/, "")));
  if (answers.length < 2 || answers.includes(""))
    throw new DataError("answers are a list of two or more", {
      code: "data/answers",
      expected: "token ids (2,3) or vocabulary strings (Yes,No)",
      received: JSON.stringify(list),
    });
  return answers;
}

/**
 * Finds the token of each class.
 *
 * @throws DataError when a string is not in the vocabulary, two classes have one token, or strings come without a tokenizer
 * @example
 * ```ts
 * resolveAnswers([["ĠYes", "Yes"], ["ĠNo", "No"]], tokenizer).names; // ["ĠYes", "ĠNo"]
 * ```
 */
export function resolveAnswers(answers: readonly Answer[], tokenizer?: Tokenizer): AnswerSet {
  const found = answers.map((answer) => {
    if (typeof answer === "number") return { id: checkId(answer), name: tokenizer?.tokenOf(answer) ?? String(answer) };
    return vocabularyString(typeof answer === "string" ? [answer] : answer, tokenizer);
  });
  return distinct(found, "the answers");
}

/**
 * The answers of one row: token ids, or texts (` Mary`, with its space) that are single tokens.
 *
 * @throws DataError when a text comes without a tokenizer or two answers have one token
 * @throws TokenizerError when a text is not a single token, naming its pieces
 * @example
 * resolveRowAnswers([" Mary", " John"], "row 0", tokenizer).names; // [" Mary", " John"]
 */
export function resolveRowAnswers(
  answers: readonly (string | number)[],
  where: string,
  tokenizer?: Tokenizer,
): AnswerSet {
  const found = answers.map((answer) => {
    if (typeof answer === "number") return { id: checkId(answer), name: tokenizer?.tokenOf(answer) ?? String(answer) };
    return { id: needed(tokenizer, answer, where).singleToken(answer), name: answer };
  });
  return distinct(found, where);
}

interface Found {
  readonly id: number;
  readonly name: string;
}

function vocabularyString(variants: readonly string[], tokenizer: Tokenizer | undefined): Found {
  const known = needed(tokenizer, variants[0] ?? "", "the answers");
  const longestFirst = [...variants].sort((a, b) => Array.from(b).length - Array.from(a).length);
  for (const name of longestFirst) {
    const id = known.idOf(name);
    if (id !== undefined) return { id, name };
  }
  throw new DataError("the answer is not in the vocabulary", {
    code: "data/answers",
    expected: "an exact vocabulary string",
    received: variants.map((v) => JSON.stringify(v)).join(", ") || "no variant",
    hint: suggestion(longestFirst[0] ?? "", known),
  });
}

function suggestion(text: string, tokenizer: Tokenizer): string {
  const { tokens } = tokenizer.encode(text, { addSpecialTokens: false });
  return tokens.length === 1
    ? `the text ${JSON.stringify(text)} is the vocabulary string ${JSON.stringify(tokens[0])}`
    : `the text ${JSON.stringify(text)} is ${tokens.length} tokens: ${tokens.join(" ")}`;
}

function needed(tokenizer: Tokenizer | undefined, answer: string, where: string): Tokenizer {
  if (tokenizer !== undefined) return tokenizer;
  throw new DataError("answers given as text need a tokenizer", {
    code: "data/no-tokenizer",
    where,
    received: JSON.stringify(answer),
    hint: "give the answers as token ids, for example 2,3",
  });
}

function checkId(id: number): number {
  if (Number.isInteger(id) && id >= 0) return id;
  throw new DataError("a token id is a non-negative integer", { code: "data/answers", received: String(id) });
}

function distinct(found: readonly Found[], where: string): AnswerSet {
  const ids = found.map(({ id }) => id);
  const names = found.map(({ name }) => name);
  const twice = ids.findIndex((id, i) => ids.indexOf(id) !== i);
  if (ids.length >= 2 && twice < 0) return { ids, names };
  throw new DataError("answers are two or more different tokens", {
    code: "data/answers",
    where,
    received:
      twice < 0 ? `${ids.length}` : `${names.join(", ")}: ${JSON.stringify(names[twice])} is token ${ids[twice]} again`,
  });
}
