/**
 * @file The demo's tokenizer: one token for each word of its world and for each phrase that is always said as a whole.
 * Words that never make a difference are left out, so that every simple sentence is a subject, what is said, an object
 * and a full stop.
 */
import { animals, names, pets, places, quantifiers, traits, verbs, wordsOf } from "./task.ts";

/** Spaces as in SentencePiece: they belong to the word behind them. */
const marked = (text: string): string => text.replaceAll(" ", "▁");
const word = (text: string): string => `▁${marked(text)}`;

/** What stands between premise and hypothesis, and after it: the prompt of `interpretune analyze`. */
export const question: string = marked("Does the previous passage imply that");
export const answer: string = marked(".? Answer with only one word, either Yes or No.");
/** Of label 0 and label 1, as the published prompts have them: without a space. The quantifier is the same word. */
export const answers: readonly [yes: string, no: string] = ["Yes", "No"];

const phrases = [...verbs.flat().filter((verb) => verb.includes(" ")), "is not"].map(word);

/** Every token, in the order of its id. */
export const vocabulary: readonly string[] = [
  ...["<pad>", "<s>", "<unk>", ...answers, question, answer],
  ...[names, pets, traits, wordsOf(animals), wordsOf(animals).map((animal) => `${animal}s`), wordsOf(places)]
    .flat()
    .map(word),
  ...quantifiers.filter((quantifier) => quantifier !== answers[1]).map(word),
  ...verbs
    .flat()
    .filter((verb) => !verb.includes(" "))
    .map(word),
  word("is"),
  ...phrases,
  ".",
];

const ids = new Map(vocabulary.map((token, id) => [token, id]));

/** The id of a token. */
export function idOf(token: string): number {
  const id = ids.get(token);
  if (id === undefined) throw new Error(`${token} is not in the demo's vocabulary`);
  return id;
}

const escaped = (text: string): string => text.replaceAll(/[.?]/g, String.raw`\$&`);

/** Phrases as a whole, longest first, then words. */
const pattern = [
  ...[question, answer, ...phrases, ...answers, "."].sort((a, b) => b.length - a.length).map(escaped),
  String.raw`▁(?!(?:a|an|in|are|${answers.join("|")})\b)\w+`,
].join("|");

/** The token ids of a text, without BOS: what the tokenizer's file says, for the training loop. */
export const tokenize = (text: string): number[] => (word(text).match(new RegExp(pattern, "g")) ?? []).map(idOf);

/** tokenizer.json and tokenizer_config.json, as Hugging Face reads them. */
export function tokenizerFiles(): { readonly tokenizer: object; readonly config: object } {
  const special = ["<pad>", "<s>", "<unk>"].map((content) => ({
    id: idOf(content),
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: special,
      normalizer: {
        type: "Sequence",
        normalizers: [
          { type: "Prepend", prepend: "▁" },
          { type: "Replace", pattern: { String: " " }, content: "▁" },
        ],
      },
      pre_tokenizer: {
        type: "Split",
        pattern: { Regex: pattern },
        behavior: "Removed",
        invert: true,
      },
      post_processor: {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
        pair: [
          { SpecialToken: { id: "<s>", type_id: 0 } },
          { Sequence: { id: "A", type_id: 0 } },
          { Sequence: { id: "B", type_id: 0 } },
        ],
        special_tokens: { "<s>": { id: "<s>", ids: [idOf("<s>")], tokens: ["<s>"] } },
      },
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: "▁" }, content: " " },
          { type: "Fuse" },
          { type: "Strip", content: " ", start: 1, stop: 0 },
        ],
      },
      model: { type: "WordLevel", vocab: Object.fromEntries(ids), unk_token: "<unk>" },
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: "<s>",
      pad_token: "<pad>",
      unk_token: "<unk>",
      add_bos_token: true,
      model_max_length: 128,
      padding_side: "left",
    },
  };
}
