/** @file Text to token ids and back, as Hugging Face's fast tokenizers do it, with TransformerLens' rules for BOS. */
import { withAddedTokens } from "./addedTokens.ts";
import { byteOfFallback, bytesOfByteLevel, showBytes, utf8Bytes } from "./bytes.ts";
import { chatTemplatesOf, renderChat } from "./chat.ts";
import type { ChatMessage, ChatOptions, ChatTemplates } from "./chat.ts";
import { TokenizerError } from "./errors.ts";
import { checkTokenizerJson, flatSteps, isObject } from "./json.ts";
import type { AddedToken, JsonObject } from "./json.ts";
import { openLibrary } from "./library.ts";
import type { LibraryTokenizer } from "./library.ts";
import { padRows } from "./padding.ts";
import type { Side, PaddedRows } from "./padding.ts";
import { pipelineOf } from "./pipeline.ts";
import type { Piece, Pipeline } from "./pipeline.ts";
import { specialTokens } from "./special.ts";
import type { SpecialName, SpecialOverrides, SpecialTokens } from "./special.ts";
import { addedBy, templateOf, trimOffsets, truncate } from "./template.ts";
import type { Template, TemplateItem } from "./template.ts";

/** A text, or a pair of texts that the post-processor joins. */
export type TextInput = string | readonly [first: string, second: string];

export interface EncodeOptions {
  /** Put the special tokens of the tokenizer's post-processor around the text. Default true. */
  addSpecialTokens?: boolean;
  /**
   * TransformerLens' rule. `true`: the text begins with BOS, put there as a string unless the tokenizer does it itself;
   * `false`: the BOS that the tokenizer puts there is taken away. Default: whatever the tokenizer does.
   */
  prependBos?: boolean;
  /** Shorten to `maxLength` tokens, special ones included, by cutting at `side` (default `"right"`). */
  truncation?: { readonly maxLength: number; readonly side?: Side };
  /** Also give the span of each token, in Unicode code points of its text as in Python. Default false. */
  offsets?: boolean;
}

export interface EncodeBatchOptions extends EncodeOptions {
  /** Pad to the longest row (default) or to a width; `false` asserts equal lengths. */
  padding?: "longest" | number | false;
  /** Default: the tokenizer's own side. */
  paddingSide?: Side;
}

export interface Encoding {
  readonly ids: number[];
  /** Vocabulary strings, as in the file (`Ġthe`). */
  readonly tokens: string[];
  /** 1 for tokens of the first text, … as the post-processor numbers the texts. */
  readonly typeIds: number[];
  /** 1 where the post-processor or the BOS rule added the token. */
  readonly specialTokensMask: number[];
  /** All 1: padding exists in batches only. */
  readonly attentionMask: number[];
  /** `[start, end)` of each token in its text, in code points; `[0, 0]` for added special tokens. Null unless asked for. */
  readonly offsets: [number, number][] | null;
}

export interface EncodedBatch extends PaddedRows {
  readonly encodings: readonly Encoding[];
}

export interface ToTokensOptions {
  /** Default: the tokenizer's `defaultPrependBos`. */
  prependBos?: boolean | null;
  paddingSide?: Side;
  /** The context's length. A longer text is an error unless `truncate` is set. */
  maxLength?: number;
  /** Cut longer texts at the right to `maxLength`. Default false. */
  truncate?: boolean;
}

export interface DecodeOptions {
  /** Leave special tokens out. Default false. */
  skipSpecialTokens?: boolean;
  /** Undo the spaces that word-level tokenizers put before punctuation. Default false. */
  cleanUpTokenizationSpaces?: boolean;
}

/** What stands beside tokenizer.json. All of it is optional. */
export interface TokenizerSources {
  /** tokenizer_config.json */
  config?: unknown;
  /** special_tokens_map.json */
  specialTokensMap?: unknown;
  /** generation_config.json */
  generationConfig?: unknown;
  /** chat_template.jinja; replaces the template of tokenizer_config.json */
  chatTemplate?: string;
  /** Special tokens that the files do not say, or say wrongly. */
  special?: SpecialOverrides;
  /** Special tokens that are added where the vocabulary lacks them. */
  addTokens?: readonly string[];
  /**
   * Whether `toTokens` puts BOS first when it is not told. Default: `add_bos_token` of tokenizer_config.json, else true as
   * in TransformerLens (which has false for Pythia, Bloom, Qwen and Phi: the model's family says so).
   */
  defaultPrependBos?: boolean;
  paddingSide?: Side;
  /** Names the source in errors. */
  where?: string;
  /** Where the files are. */
  folder?: string;
  /** For whom there are none: what they would be, made when they are wanted. */
  files?: () => TokenizerFiles;
}

/** Choices that are the user's and not the files'. */
export type TokenizerOptions = Pick<TokenizerSources, "special" | "addTokens" | "defaultPrependBos" | "paddingSide">;

/** The files of a tokenizer by name, JSON parsed. */
export type TokenizerFiles = Readonly<Record<string, JsonObject>>;

/**
 * A tokenizer. Ids equal those of Hugging Face's Rust tokenizers; decoding does not clean up spaces unless asked to.
 *
 * @example
 * ```ts
 * const tokenizer = await loadTokenizer("models/gpt2");
 * tokenizer.encode("Hello world", { offsets: true }).ids;            // [15496, 995]
 * tokenizer.toTokens(["a b c", "a"], { paddingSide: "left" }).dims;  // [2, 4]: BOS first, then padding on the left
 * ```
 */
export class Tokenizer {
  readonly special: SpecialTokens;
  readonly chatTemplates: ChatTemplates;
  readonly paddingSide: Side;
  readonly defaultPrependBos: boolean;
  /** Whether the tokenizer itself puts a special token before a text (so the empty text is not empty). */
  readonly prependsBos: boolean;
  /** `model_max_length` of tokenizer_config.json, where it says a real length. */
  readonly maxLength: number | undefined;
  /** Where its files are, for whom it was read from a folder. */
  readonly folder: string | undefined;
  /** What its files would be, for whom it was not read from a folder. */
  readonly files: (() => TokenizerFiles) | undefined;
  /**
   * What the user said beside the files: tokens that these lack; special tokens, as their text by key (`pad_token`) or,
   * where the vocabulary has none of that id, as the id (`pad_token_id`); the padding side.
   */
  readonly beside: {
    readonly added: readonly AddedToken[];
    readonly special: { readonly [key: string]: string | number };
    readonly paddingSide: Side | undefined;
  };
  readonly #library: LibraryTokenizer;
  readonly #pipeline: Pipeline;
  readonly #template: Template;
  readonly #added: ReadonlyMap<number, AddedToken>;
  readonly #looks: { readonly byteLevel: boolean; readonly metaspace: boolean; readonly prefix: string };

  /** Use `loadTokenizer`, `tokenizerFromJson` or `tokenizerFromGguf`. */
  constructor(tokenizerJson: unknown, sources: TokenizerSources = {}) {
    const checked = checkTokenizerJson(tokenizerJson, sources.where ?? "tokenizer.json");
    const json = withAddedTokens(checked, sources.addTokens ?? []);
    const config: JsonObject = isObject(sources.config) ? sources.config : {};
    this.#library = openLibrary(json, sources.where ?? "tokenizer.json");
    this.#pipeline = pipelineOf(json, this.#library);
    this.#added = new Map(json.added_tokens.map((t) => [t.id, t]));
    this.special = specialTokens(
      {
        config,
        map: isObject(sources.specialTokensMap) ? sources.specialTokensMap : {},
        generation: isObject(sources.generationConfig) ? sources.generationConfig : {},
        overrides: sources.special ?? {},
        unk: this.#library.model.unk_token,
      },
      (token) => this.idOf(token),
      (id) => this.tokenOf(id),
    );
    this.#template = withBosAndEos(
      templateOf(json.post_processor, (token) => this.idOf(token)),
      config,
      this.special.ids,
    );
    this.prependsBos = "ids" in (this.#template.single[0] ?? {});
    this.defaultPrependBos = sources.defaultPrependBos ?? config["add_bos_token"] !== false;
    this.folder = sources.folder;
    this.files = sources.files;
    this.beside = {
      added: json.added_tokens.slice(checked.added_tokens.length),
      special: Object.fromEntries(
        (Object.keys(sources.special ?? {}) as SpecialName[]).map((name): [string, string | number] => {
          const id = this.special.ids[name]!;
          const text = this.tokenOf(id);
          return text === undefined ? [`${name}_token_id`, id] : [`${name}_token`, text];
        }),
      ),
      paddingSide: sources.paddingSide,
    };
    this.paddingSide = sources.paddingSide ?? (config["padding_side"] === "left" ? "left" : "right");
    const longest = config["model_max_length"];
    this.maxLength = typeof longest === "number" && longest < 1e9 ? longest : undefined;
    this.chatTemplates = chatTemplatesOf(sources.chatTemplate ?? config["chat_template"]);
    const decoders = flatSteps(json.decoder);
    const has = (type: string): boolean => decoders.some((d) => d["type"] === type);
    const prefix = json.model["continuing_subword_prefix"];
    this.#looks = {
      byteLevel: has("ByteLevel") || flatSteps(json.pre_tokenizer).some((s) => s["type"] === "ByteLevel"),
      metaspace: has("Metaspace") || decoders.some((d) => d["type"] === "Replace" && d["content"] === " "),
      prefix: json.model.type === "WordPiece" && typeof prefix === "string" ? prefix : "",
    };
  }

  /** How many different tokens there are, added ones included. */
  get vocabSize(): number {
    return this.#library.model.tokens_to_ids.size;
  }
  /** Id of the token that begins a text; undefined when the tokenizer has none and no end token stands in. */
  get bosId(): number | undefined {
    return this.special.ids.bos;
  }
  get eosId(): number | undefined {
    return this.special.ids.eos;
  }
  get padId(): number | undefined {
    return this.special.ids.pad;
  }
  get unkId(): number | undefined {
    return this.special.ids.unk;
  }

  /** The id of a token by its exact vocabulary string (`ĠYes` and `Yes` are different tokens); undefined when absent. */
  idOf(token: string): number | undefined {
    return this.#library.model.tokens_to_ids.get(token);
  }

  /** The vocabulary string of an id; undefined when there is no such id. */
  tokenOf(id: number): string | undefined {
    return this.#library.model.vocab[id];
  }

  /**
   * The token ids of a text or of a pair of texts.
   *
   * @throws TokenizerError when BOS is asked for and there is none, or truncation leaves no room for special tokens
   * @example
   * ```ts
   * const { ids, offsets } = tokenizer.encode("naïve café", { offsets: true });
   * ```
   */
  encode(input: TextInput, options: EncodeOptions = {}): Encoding {
    const { addSpecialTokens = true, prependBos, truncation, offsets = false } = options;
    const texts = typeof input === "string" ? [input] : input;
    const own = texts.length === 2 ? this.#template.pair : this.#template.single;
    const items = addSpecialTokens
      ? withoutBos(own, prependBos === false && this.prependsBos)
      : own.filter((i) => "sequence" in i);
    const bos = prependBos === true && !("ids" in (items[0] ?? {})) ? this.#bosToken() : "";
    const parts = texts.map((text, i) => this.#pieces(i === 0 ? bos + text : text, offsets, i === 0 ? bos : ""));
    const kept =
      truncation === undefined
        ? parts
        : truncate(parts, this.#room(items, truncation.maxLength), truncation.side ?? "right");
    return assemble(items, kept, bos !== "", offsets, (id) => this.tokenOf(id) ?? "");
  }

  /**
   * Several texts as one rectangle: `ids` and `mask` are `[rows, width]`.
   *
   * @throws TokenizerError as `encode`, and when a row does not fit the width asked for
   * @example
   * ```ts
   * const { ids, mask, dims } = tokenizer.encodeBatch(["one", "one two"], { paddingSide: "left" });
   * ```
   */
  encodeBatch(inputs: readonly TextInput[], options: EncodeBatchOptions = {}): EncodedBatch {
    const encodings = inputs.map((input) => this.encode(input, options));
    const { padding = "longest", paddingSide = this.paddingSide } = options;
    const rows = encodings.map((e) => e.ids);
    return { ...padRows(rows, { padding, side: paddingSide, value: this.padId ?? 0 }), encodings };
  }

  /**
   * TransformerLens' `to_tokens`: one text or several, `[rows, width]`, with or without BOS.
   * BOS is wanted by default. Whether the tokenizer puts it there itself is told by tokenising the empty text;
   * if it does not, the BOS string is put before the text; if it does and BOS is not wanted, it is taken away.
   *
   * @throws TokenizerError when a text is longer than `maxLength` and `truncate` is not set
   */
  toTokens(input: string | readonly string[], options: ToTokensOptions = {}): EncodedBatch {
    const { prependBos, paddingSide, maxLength, truncate: cut = false } = options;
    const texts = typeof input === "string" ? [input] : input;
    const batch = this.encodeBatch(texts, {
      prependBos: prependBos ?? this.defaultPrependBos,
      ...(paddingSide === undefined ? {} : { paddingSide }),
      ...(cut && maxLength !== undefined ? { truncation: { maxLength } } : {}),
    });
    const long = batch.encodings.findIndex((e) => maxLength !== undefined && e.ids.length > maxLength);
    if (long >= 0)
      throw new TokenizerError("the text is longer than the context", {
        code: "tokenizer/too-long",
        where: `text ${long}`,
        expected: `at most ${maxLength} tokens`,
        received: `${batch.encodings[long]!.ids.length} tokens`,
        hint: "shorten it, or set truncate",
      });
    return batch;
  }

  /**
   * The text of token ids. Ids that the vocabulary lacks are left out, as the Rust tokenizers do.
   *
   * @throws TokenizerError when an id is not a non-negative integer
   * @example
   * ```ts
   * tokenizer.decode(tokenizer.encode("Hello").ids); // "Hello"
   * ```
   */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const { skipSpecialTokens = false, cleanUpTokenizationSpaces = false } = options;
    const known = checkIds(ids).filter(
      (id) => this.tokenOf(id) !== undefined && !(skipSpecialTokens && this.#added.get(id)?.special === true),
    );
    if (known.length === 0) return "";
    return this.#library.decode(known, { clean_up_tokenization_spaces: cleanUpTokenizationSpaces });
  }

  /**
   * The bytes that a token stands for in a text: `Ġthe` is `" the"`, a byte-level or byte-fallback token that is part
   * of a character is that part.
   *
   * @throws TokenizerError when there is no such id
   */
  tokenBytes(id: number): Uint8Array<ArrayBuffer> {
    const token = this.tokenOf(checkIds([id])[0]!);
    if (token === undefined)
      throw new TokenizerError("no such token", {
        code: "tokenizer/id",
        expected: `an id of the vocabulary of ${this.vocabSize} tokens`,
        received: String(id),
      });
    if (this.#added.has(id)) return utf8Bytes(token);
    const { byteLevel, metaspace, prefix } = this.#looks;
    const raw = byteLevel ? bytesOfByteLevel(token) : null;
    if (raw !== null) return raw;
    const byte = byteOfFallback(token);
    if (byte !== null) return Uint8Array.of(byte);
    const body = prefix !== "" && token.startsWith(prefix) ? token.slice(prefix.length) : token;
    return utf8Bytes(metaspace ? body.replaceAll("\u2581", " ") : body);
  }

  /**
   * Each token as text, one string per id: TransformerLens' `to_str_tokens`, but exact. Joined, they show all bytes:
   * bytes that are no complete character within their token are written `<0xE2>`. Unknown ids are written `<id 99>`.
   *
   * @example
   * ```ts
   * tokenizer.tokenStrings(tokenizer.encode("a 東").ids); // ["a", " <0xE6>", "<0x9D>", "<0xB1>"]
   * ```
   */
  tokenStrings(ids: ArrayLike<number>): string[] {
    return checkIds(ids).map((id) => (this.tokenOf(id) === undefined ? `<id ${id}>` : showBytes(this.tokenBytes(id))));
  }

  /**
   * The id of a text that is exactly one token (`" Yes"`, `"Yes"`).
   *
   * @throws TokenizerError naming the pieces when it is not
   */
  singleToken(text: string): number {
    const { ids } = this.encode(text, { addSpecialTokens: false });
    if (ids.length === 1) return ids[0]!;
    throw new TokenizerError(`${JSON.stringify(text)} is not a single token`, {
      code: "tokenizer/not-single",
      expected: "one token",
      received: `${ids.length}: ${
        this.tokenStrings(ids)
          .map((t) => JSON.stringify(t))
          .join(" ") || "none"
      }`,
      hint: "choose a text that is one token, perhaps with or without a leading space",
    });
  }

  /**
   * A conversation as the model's chat template writes it. Encode it with `addSpecialTokens: false`: the template has them.
   *
   * @throws TokenizerError when there is no template, or with the template's own message when it refuses
   * @example
   * ```ts
   * const text = tokenizer.applyChatTemplate([{ role: "user", content: "Hi" }], { addGenerationPrompt: true });
   * const { ids } = tokenizer.encode(text, { addSpecialTokens: false });
   * ```
   */
  applyChatTemplate(messages: readonly ChatMessage[], options: ChatOptions = {}): string {
    return renderChat(this.chatTemplates, this.special.named, messages, options);
  }

  #pieces(text: string, offsets: boolean, bos: string): Piece[] {
    const pieces = this.#pipeline.run(text, offsets);
    const { trim } = this.#template;
    const trimmed = offsets && trim !== null ? trimOffsets(pieces, trim.keepFirst) : pieces;
    const shift = Array.from(bos).length;
    return shift === 0
      ? trimmed
      : trimmed.map((p) => ({ ...p, start: Math.max(p.start - shift, 0), end: Math.max(p.end - shift, 0) }));
  }

  #bosToken(): string {
    const token = this.bosId === undefined ? undefined : this.tokenOf(this.bosId);
    if (token !== undefined) return token;
    throw new TokenizerError("this tokenizer has no BOS token", {
      code: "tokenizer/no-bos",
      hint: "set prependBos to false, or give special: { bos } when loading",
    });
  }

  #room(items: readonly TemplateItem[], maxLength: number): number {
    const room = maxLength - addedBy(items);
    if (Number.isInteger(maxLength) && room >= 0) return room;
    throw new TokenizerError("no room for the special tokens", {
      code: "tokenizer/truncation",
      expected: `a maxLength of at least ${addedBy(items)}`,
      received: String(maxLength),
    });
  }
}

function checkIds(ids: ArrayLike<number>): number[] {
  const list = Array.from(ids);
  const bad = list.findIndex((id) => !Number.isInteger(id) || id < 0);
  if (bad < 0) return list;
  throw new TokenizerError("token ids are non-negative integers", {
    code: "tokenizer/id",
    where: `index ${bad}`,
    received: String(list[bad]),
  });
}

/** `add_bos_token` and `add_eos_token` of tokenizer_config.json have the last word on the post-processor. */
function withBosAndEos(template: Template, config: JsonObject, ids: SpecialTokens["ids"]): Template {
  const edit = (items: readonly TemplateItem[]): TemplateItem[] => {
    const own = (item: TemplateItem, id: number | undefined): boolean =>
      "ids" in item && item.ids.length === 1 && item.ids[0] === id;
    const keeps = (item: TemplateItem): boolean =>
      !(config["add_bos_token"] === false && own(item, ids.bos)) &&
      !(config["add_eos_token"] === false && own(item, ids.eos));
    return items.filter(keeps).flatMap((item, i, kept): TemplateItem[] => {
      if (!("sequence" in item)) return [item];
      const before = config["add_bos_token"] === true && ids.bos !== undefined && !own(kept[i - 1] ?? item, ids.bos);
      const after = config["add_eos_token"] === true && ids.eos !== undefined && !own(kept[i + 1] ?? item, ids.eos);
      return [
        ...(before ? [{ ids: [ids.bos], type: item.type }] : []),
        item,
        ...(after ? [{ ids: [ids.eos], type: item.type }] : []),
      ];
    });
  };
  return { ...template, single: edit(template.single), pair: edit(template.pair) };
}

/** The template without the token it begins with. */
function withoutBos(items: readonly TemplateItem[], remove: boolean): readonly TemplateItem[] {
  const [first, ...rest] = items;
  if (!remove || first === undefined || !("ids" in first)) return items;
  return first.ids.length > 1 ? [{ ...first, ids: first.ids.slice(1) }, ...rest] : rest;
}

function assemble(
  items: readonly TemplateItem[],
  parts: readonly Piece[][],
  bos: boolean,
  offsets: boolean,
  tokenOf: (id: number) => string,
): Encoding {
  const out: Encoding = {
    ids: [],
    tokens: [],
    typeIds: [],
    specialTokensMask: [],
    attentionMask: [],
    offsets: offsets ? [] : null,
  };
  const push = (id: number, token: string, type: number, special: boolean, span: [number, number]): void => {
    out.ids.push(id);
    out.tokens.push(token);
    out.typeIds.push(type);
    out.specialTokensMask.push(special ? 1 : 0);
    out.attentionMask.push(1);
    out.offsets?.push(span);
  };
  for (const item of items) {
    if ("ids" in item) for (const id of item.ids) push(id, tokenOf(id), item.type, true, [0, 0]);
    else
      (parts[item.sequence] ?? []).forEach((p, i) =>
        push(p.id, p.token, item.type, bos && item.sequence === 0 && i === 0, [p.start, p.end]),
      );
  }
  return out;
}
