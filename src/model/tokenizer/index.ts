/** @file Tokenizers: text to ids and back, special tokens, chat templates. */
export type { ChatMessage, ChatOptions, ChatTemplates } from "./chat.ts";
export { TokenizerError } from "./errors.ts";
export { tokenizerFromGguf } from "./gguf.ts";
export type { GgufMetadata } from "./gguf.ts";
export { loadTokenizer, tokenizerFromJson } from "./load.ts";
export { padRows } from "./padding.ts";
export type { PadOptions, Side, PaddedRows } from "./padding.ts";
export { saveTokenizer } from "./save.ts";
export type { SpecialName, SpecialOverrides, SpecialTokens } from "./special.ts";
export { Tokenizer } from "./tokenizer.ts";
export type {
  EncodeBatchOptions,
  DecodeOptions,
  EncodedBatch,
  EncodeOptions,
  Encoding,
  TextInput,
  TokenizerOptions,
  TokenizerSources,
  ToTokensOptions,
} from "./tokenizer.ts";
