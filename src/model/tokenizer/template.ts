/** @file What goes around the tokens: special tokens of the post-processor, pairs, truncation, trimmed offsets. */
import { TokenizerError } from "./errors.ts";
import { flatSteps, isObject } from "./json.ts";
import type { JsonObject } from "./json.ts";
import type { Piece } from "./pipeline.ts";

export type TemplateItem = { ids: readonly number[]; type: number } | { sequence: 0 | 1; type: number };

export interface Template {
  readonly single: readonly TemplateItem[];
  readonly pair: readonly TemplateItem[];
  /** Cut white space off the offsets of byte-level tokens; `keepFirst` where a space was put before the text. */
  readonly trim: { readonly keepFirst: boolean } | null;
}

const A: TemplateItem = { sequence: 0, type: 0 };
const PLAIN = { single: [A], pair: [A, { sequence: 1, type: 1 } as const] };

/** Reads `post_processor` of tokenizer.json. `idOf` finds the ids of special tokens given by content. */
export function templateOf(config: JsonObject | null, idOf: (token: string) => number | undefined): Template {
  let items: Pick<Template, "single" | "pair"> = PLAIN;
  let trim: Template["trim"] = null;
  const special = (value: unknown, type: number): TemplateItem => {
    const pair: unknown[] = Array.isArray(value) ? value : [];
    const [content, id] = pair;
    if (typeof content !== "string" || typeof id !== "number") throw malformed(config, "a [token, id] pair");
    return { ids: [idOf(content) ?? id], type };
  };
  for (const step of flatSteps(config)) {
    const { type, cls, sep } = step;
    if (type === "ByteLevel" || type === "RobertaProcessing")
      trim = step["trim_offsets"] === false ? null : { keepFirst: step["add_prefix_space"] !== false };
    if (type === "TemplateProcessing") {
      items = { single: parseItems(step, "single", idOf), pair: parseItems(step, "pair", idOf) };
    } else if (type === "BertProcessing") {
      const start = [special(cls, 0), A, special(sep, 0)];
      items = { single: start, pair: [...start, { sequence: 1, type: 1 }, special(sep, 1)] };
    } else if (type === "RobertaProcessing") {
      const start = [special(cls, 0), A, special(sep, 0)];
      items = { single: start, pair: [...start, special(sep, 0), { sequence: 1, type: 0 }, special(sep, 0)] };
    } else if (type !== "ByteLevel") {
      throw malformed(config, "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel or a Sequence of them");
    }
  }
  return { ...items, trim };
}

function parseItems(step: JsonObject, key: string, idOf: (token: string) => number | undefined): TemplateItem[] {
  const list: unknown = step[key];
  const table = isObject(step["special_tokens"]) ? step["special_tokens"] : {};
  if (!Array.isArray(list)) throw malformed(step, `a list under ${key}`);
  return list.map((item: unknown): TemplateItem => {
    const body: unknown = isObject(item) ? (item["Sequence"] ?? item["SpecialToken"]) : undefined;
    if (!isObject(item) || !isObject(body) || typeof body["id"] !== "string")
      throw malformed(step, "items Sequence or SpecialToken with an id");
    const type = typeof body["type_id"] === "number" ? body["type_id"] : 0;
    if (item["Sequence"] !== undefined) return { sequence: body["id"] === "B" ? 1 : 0, type };
    const entry = Object.hasOwn(table, body["id"]) ? table[body["id"]] : undefined;
    const listed: unknown = isObject(entry) ? entry["ids"] : undefined;
    const ids: unknown[] = Array.isArray(listed) ? listed : [idOf(body["id"])];
    if (!ids.every((id) => typeof id === "number")) throw malformed(step, `ids of the special token ${body["id"]}`);
    return { ids, type };
  });
}

const malformed = (config: JsonObject | null, expected: string): TokenizerError =>
  new TokenizerError("malformed post-processor", {
    code: "tokenizer/post-processor",
    where: "key post_processor",
    expected,
    received: JSON.stringify(config)?.slice(0, 200),
  });

/** How many tokens the template adds to one text or to a pair. */
export const addedBy = (items: readonly TemplateItem[]): number =>
  items.reduce((n, item) => n + ("ids" in item ? item.ids.length : 0), 0);

/** Shortens one text or a pair to `room` tokens; of a pair the longer one first, as the Rust tokenizers do. */
export function truncate(parts: readonly Piece[][], room: number, side: "left" | "right"): Piece[][] {
  const cut = (part: Piece[], n: number): Piece[] =>
    part.length <= n ? part : side === "right" ? part.slice(0, n) : part.slice(part.length - n);
  const [a = [], b] = parts;
  if (b === undefined) return [cut(a, room)];
  if (a.length + b.length <= room) return [a, b];
  let [short, long] = [Math.min(a.length, b.length), 0];
  long = short > room ? short : Math.max(short, room - short);
  if (short + long > room) [short, long] = [Math.floor(room / 2), Math.ceil(room / 2)];
  return a.length > b.length ? [cut(a, long), cut(b, short)] : [cut(a, short), cut(b, long)];
}

const isSpace = (c: string): boolean => c === "\u0120" || /\p{White_Space}/u.test(c);

/** Takes the white space at a byte-level token's ends out of its offsets. */
export function trimOffsets(pieces: readonly Piece[], keepFirst: boolean): Piece[] {
  return pieces.map((piece, i) => {
    const chars = Array.from(piece.token);
    const content = chars.findIndex((c) => !isSpace(c));
    const lead = content < 0 ? chars.length : content;
    const trail = content < 0 ? chars.length : chars.length - 1 - chars.findLastIndex((c) => !isSpace(c));
    const kept = keepFirst && (i === 0 || piece.start === 0);
    const start = Math.min(piece.start + (kept ? 0 : lead), piece.end);
    const end = piece.end >= trail ? Math.max(piece.end - trail, start) : piece.end;
    return { ...piece, start, end };
  });
}
