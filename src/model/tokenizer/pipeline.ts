/** @file From text to tokens: added tokens, normaliser, pre-tokeniser, model; with the span of every token. */
import { aligned, normalizerOf, slice } from "./align.ts";
import type { Aligned, Normalize } from "./align.ts";
import { byteOfFallback, looseText, bytesOfByteLevel, utf8Bytes } from "./bytes.ts";
import { escapeRegExp, flatSteps } from "./json.ts";
import type { AddedToken, TokenizerJson } from "./json.ts";
import type { LibraryTokenizer } from "./library.ts";

/** A token of a text and the code points `[start, end)` it covers. */
export interface Piece {
  readonly id: number;
  readonly token: string;
  readonly start: number;
  readonly end: number;
}

export interface Pipeline {
  /** The tokens of a text, without any special tokens around them. Spans are all 0 unless asked for. */
  run(text: string, spans: boolean): Piece[];
}

interface Matcher {
  readonly pattern: RegExp;
  readonly tokens: ReadonlyMap<string, AddedToken>;
}

/** Longest match first at every place, as an Aho-Corasick automaton in leftmost-longest mode. */
function matcherOf(tokens: ReadonlyMap<string, AddedToken>): Matcher | null {
  if (tokens.size === 0) return null;
  const contents = [...tokens.keys()].sort((a, b) => b.length - a.length);
  return { pattern: new RegExp(contents.map(escapeRegExp).join("|"), "gu"), tokens };
}

interface Section {
  readonly text: Aligned;
  readonly added?: AddedToken;
}

/** Splits a text at its added tokens, with their rules on white space and word borders. */
function sections(t: Aligned, matcher: Matcher | null): Section[] {
  if (matcher === null) return [{ text: t }];
  const out: Section[] = [];
  const text = t.chars.join("");
  let done = 0; // code point up to which sections are out
  let at = 0; // code point
  let offset = 0; // UTF-16 unit of `at`
  for (const match of text.matchAll(matcher.pattern)) {
    for (; offset < match.index; at++) offset += t.chars[at]!.length;
    let [from, to] = [at, at + Array.from(match[0]).length];
    const added = matcher.tokens.get(match[0])!;
    const wordAt = (i: number): boolean => /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u.test(t.chars[i] ?? "");
    const spaceAt = (i: number): boolean => /\p{White_Space}/u.test(t.chars[i] ?? "");
    if (from < done || (added.single_word && (wordAt(from - 1) || wordAt(to)))) continue;
    if (added.lstrip) while (from > done && spaceAt(from - 1)) from--;
    if (added.rstrip) while (spaceAt(to)) to++;
    if (from > done) out.push({ text: slice(t, done, from) });
    out.push({ text: slice(t, from, to), added });
    done = to;
  }
  if (done < t.chars.length) out.push({ text: done === 0 ? t : slice(t, done, t.chars.length) });
  return out;
}

export function pipelineOf(json: TokenizerJson, library: LibraryTokenizer): Pipeline {
  const normalize = normalizerOf(json.normalizer);
  const early = new Map<string, AddedToken>();
  const late = new Map<string, AddedToken>();
  for (const token of json.added_tokens) {
    if (token.normalized && normalize !== null) late.set(normalize(aligned(token.content)).chars.join(""), token);
    else (token.normalized ? late : early).set(token.content, token);
  }
  const before = matcherOf(early);
  const after = matcherOf(late);
  const tokenize = tokenizeOf(json, library);
  const identity: Normalize = (t) => t;
  return {
    run(text, spans) {
      const out: Piece[] = [];
      const add = ({ id, content }: AddedToken, t: Aligned): void => {
        out.push({ id, token: content, ...(spans ? spanOf(t, 0, t.chars.length) : NOWHERE) });
      };
      const wellFormed = text.replace(/\p{Surrogate}/gu, "\ufffd");
      for (const section of sections(aligned(wellFormed), before)) {
        if (section.added !== undefined) add(section.added, section.text);
        else
          for (const part of sections((normalize ?? identity)(section.text), after)) {
            if (part.added !== undefined) add(part.added, part.text);
            else if (part.text.chars.length > 0) tokenize(part.text, spans, out);
          }
      }
      return out;
    },
  };
}

const NOWHERE = { start: 0, end: 0 };
const spanOf = (t: Aligned, from: number, to: number): { start: number; end: number } =>
  from < to
    ? { start: t.start[from]!, end: t.end[to - 1]! }
    : { start: t.end[from - 1] ?? 0, end: t.end[from - 1] ?? 0 };

type Tokenize = (text: Aligned, spans: boolean, out: Piece[]) => void;

function tokenizeOf(json: TokenizerJson, library: LibraryTokenizer): Tokenize {
  const { model, pre_tokenizer: split } = library;
  const { type, byte_fallback, fuse_unk, continuing_subword_prefix, end_of_word_suffix } = json.model;
  const has = (step: string): boolean => flatSteps(json.pre_tokenizer).some((s) => s["type"] === step);
  const byteLevel = has("ByteLevel");
  const metaspace = has("Metaspace");
  const fuses = fuse_unk === true || type === "Unigram";
  const prefix = type === "WordPiece" && typeof continuing_subword_prefix === "string" ? continuing_subword_prefix : "";
  const suffix = typeof end_of_word_suffix === "string" ? end_of_word_suffix : "";
  const unknown = model.unk_token_id ?? undefined;
  const wordwise = type === "WordPiece" || type === "WordLevel";
  const surface: Surface = { byteLevel, prefix, suffix, unk: model.unk_token ?? null, wordwise };

  /** The model's tokens for a piece; unigram characters it does not know become their bytes where it has those. */
  const tokensOf = (piece: string): string[] => {
    const tokens = model.encode([piece]);
    if (type !== "Unigram" || byte_fallback !== true) return tokens;
    return tokens.flatMap((token) => {
      if (model.tokens_to_ids.has(token)) return [token];
      const bytes = Array.from(utf8Bytes(token), (b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
      return bytes.every((b) => model.tokens_to_ids.has(b)) ? bytes : [token];
    });
  };

  const words = (piece: string): readonly Word[] => {
    const tokens = tokensOf(piece);
    const ranges = rangesOf(tokens, piece, surface);
    const found: Word[] = [];
    tokens.forEach((token, i) => {
      const id = model.tokens_to_ids.get(token) ?? unknown;
      if (id === undefined) return;
      const [from, to] = ranges[i]!;
      const last = found.at(-1);
      if (fuses && id === unknown && last?.id === unknown)
        found[found.length - 1] = { ...last, token: type === "Unigram" ? last.token + token : last.token, to };
      else found.push({ id, token, from, to, ...NOWHERE });
    });
    return found;
  };
  const cached = remember(words);

  return (text, spans, out) => {
    const whole = text.chars.join("");
    const pieces = split === null ? [whole] : split.pre_tokenize(whole, { section_index: text.start[0] === 0 ? 0 : 1 });
    const placed = spans ? place(text, pieces, byteLevel, metaspace) : null;
    pieces.forEach((piece, p) => {
      const here = placed?.[p];
      for (const word of cached(piece))
        out.push(here === undefined ? word : { id: word.id, token: word.token, ...spanOf(here, word.from, word.to) });
    });
  };
}

/** A token within a piece: the code points `[from, to)` of the piece that it touches. */
interface Word extends Piece {
  readonly from: number;
  readonly to: number;
}

const MAX_CACHED_LENGTH = 64;
const MAX_CACHED = 1 << 15;

/** Words come again and again: keeps the last results for short pieces. */
function remember(words: (piece: string) => readonly Word[]): (piece: string) => readonly Word[] {
  const cache = new Map<string, readonly Word[]>();
  return (piece) => {
    const known = cache.get(piece);
    if (known !== undefined || piece.length > MAX_CACHED_LENGTH) return known ?? words(piece);
    if (cache.size >= MAX_CACHED) cache.clear();
    const found = words(piece);
    cache.set(piece, found);
    return found;
  };
}

/** Where each piece lies in the text: a pre-tokeniser may leave white space out, put a space before, or write it as ▁. */
function place(text: Aligned, pieces: readonly string[], byteLevel: boolean, metaspace: boolean): Aligned[] {
  let at = 0;
  return pieces.map((piece) => {
    const bytes = byteLevel ? bytesOfByteLevel(piece) : null;
    const chars = Array.from(bytes === null ? piece : looseText(bytes));
    const same = (a: string, b: string | undefined): boolean => a === b || (metaspace && a === "\u2581" && b === " ");
    const fits = (from: number, skip: number): boolean =>
      (skip === 0 || chars[0] === " " || (metaspace && chars[0] === "\u2581")) &&
      chars.every((c, i) => i < skip || same(c, text.chars[from + i - skip]));
    for (let from = at; from <= text.chars.length; from++)
      for (const skip of [0, 1]) {
        if (!fits(from, skip)) continue;
        const found = slice(text, from, from + chars.length - skip);
        at = from + chars.length - skip;
        if (skip === 0) return found;
        const [start, end] = [text.start[from] ?? 0, text.end[from] ?? 0];
        return { chars, start: [start, ...found.start], end: [end, ...found.end] };
      }
    return { chars, start: chars.map(() => text.start[at] ?? 0), end: chars.map(() => text.end[at] ?? 0) };
  });
}

interface Surface {
  readonly byteLevel: boolean;
  readonly prefix: string;
  readonly suffix: string;
  readonly unk: string | null;
  /** An unknown word is one unknown token, however long; otherwise there is one for each character. */
  readonly wordwise: boolean;
}

/** The code points `[from, to)` of a piece that each of its tokens touches. */
function rangesOf(
  tokens: readonly string[],
  piece: string,
  { byteLevel, prefix, suffix, unk, wordwise }: Surface,
): [number, number][] {
  const bytes = byteLevel ? bytesOfByteLevel(piece) : null;
  const chars = Array.from(bytes === null ? piece : looseText(bytes));
  const owner = chars.flatMap((c, i) => Array.from(utf8Bytes(c), () => i)); // byte -> code point
  const startsHere = (surface: string): boolean => {
    const from = owner[at] ?? chars.length;
    return Array.from(surface).every((c, i) => c === chars[from + i]);
  };
  const bytesOf = (token: string, i: number): number => {
    if (bytes !== null && bytesOfByteLevel(token) !== null) return token.length;
    const body = token.slice(i > 0 && prefix !== "" && token.startsWith(prefix) ? prefix.length : 0);
    const surface = suffix !== "" && body.endsWith(suffix) ? body.slice(0, -suffix.length) : body;
    if (!startsHere(surface)) {
      if (byteOfFallback(token) !== null) return 1;
      if (token === unk) return wordwise ? owner.length - at : utf8Bytes(chars[owner[at] ?? 0] ?? "").length;
    }
    return utf8Bytes(surface).length;
  };
  let at = 0;
  return tokens.map((token, i) => {
    const from = Math.min(at, owner.length);
    at = Math.min(at + bytesOf(token, i), owner.length);
    return from < at ? [owner[from]!, owner[at - 1]! + 1] : [owner[from] ?? chars.length, owner[from] ?? chars.length];
  });
}
