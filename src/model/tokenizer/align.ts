/**
 * @file Text that remembers where each of its characters came from, and the normalisers that change it.
 * Spans follow the Rust tokenizers' `NormalizedString`: an inserted character has the span of the one before it.
 */
import { TokenizerError } from "./errors.ts";
import { entryOf, flatSteps } from "./json.ts";
import type { JsonObject } from "./json.ts";
import { patternOf, precompiled } from "./library.ts";

/** Code points, each with its range `[start, end)` of code points in the original text. */
export interface Aligned {
  readonly chars: readonly string[];
  readonly start: readonly number[];
  readonly end: readonly number[];
}

export type Normalize = (text: Aligned) => Aligned;

/** The text as it stands: every code point comes from itself. */
export function aligned(text: string): Aligned {
  const chars = Array.from(text);
  return { chars, start: chars.map((_, i) => i), end: chars.map((_, i) => i + 1) };
}

export const slice = (t: Aligned, from: number, to: number): Aligned => ({
  chars: t.chars.slice(from, to),
  start: t.start.slice(from, to),
  end: t.end.slice(from, to),
});

class Builder implements Aligned {
  readonly chars: string[] = [];
  readonly start: number[] = [];
  readonly end: number[] = [];

  push(char: string, source: Aligned, first: number, last: number = first): void {
    this.chars.push(char);
    this.start.push(source.start[first] ?? 0);
    this.end.push(source.end[last] ?? 0);
  }
}

/** Every code point becomes any number of others in its place. */
const each =
  (change: (char: string) => Iterable<string>): Normalize =>
  (t) => {
    const out = new Builder();
    t.chars.forEach((char, i) => {
      for (const c of change(char)) out.push(c, t, i);
    });
    return out;
  };

const chain =
  (...steps: Normalize[]): Normalize =>
  (t) =>
    steps.reduce((text, step) => step(text), t);

/** Where the next run that Unicode normalisation treats as a unit ends: a character and what combines with it. */
function clusterEnd(chars: readonly string[], from: number): number {
  let to = from + 1;
  while (to < chars.length && /[\p{M}\u1160-\u11ff\uff9e\uff9f]/u.test(chars[to]!)) to++;
  return to;
}

type Form = "NFC" | "NFD" | "NFKC" | "NFKD";

function unicode(form: Form): Normalize {
  const decomposed = form === "NFC" || form === "NFD" ? "NFD" : "NFKD";
  const composes = form === "NFC" || form === "NFKC";
  return (t) => {
    const text = t.chars.join("");
    if (text.normalize(form) === text) return t;
    const out = new Builder();
    for (let from = 0; from < t.chars.length;) {
      const to = clusterEnd(t.chars, from);
      const cluster = t.chars.slice(from, to);
      // how much longer each decomposed character makes the text: 0 in place of one, +1 beside it
      const parts = cluster.flatMap((c) =>
        Array.from(c.normalize(decomposed), (char, i) => ({ char, grows: i === 0 ? 0 : 1 })),
      );
      let at = from;
      for (const char of cluster.join("").normalize(form)) {
        const made = composes ? Array.from(char.normalize("NFD")) : [char];
        let grows = 1 - made.length;
        for (const m of made) {
          const found = parts.findIndex((p) => p.char === m);
          if (found >= 0) grows += parts.splice(found, 1)[0]!.grows;
        }
        if (grows > 0) out.push(char, t, Math.max(at - 1, 0));
        else {
          out.push(char, t, Math.min(at, to - 1));
          at += 1 - grows;
        }
      }
      from = to;
    }
    return out;
  };
}

function replace(config: JsonObject): Normalize {
  const pattern = patternOf(config["pattern"]);
  const content = Array.from(typeof config["content"] === "string" ? config["content"] : "");
  if (pattern === null) throw unsupported("Replace without a pattern");
  return (t) => {
    const out = new Builder();
    let at = 0; // code point
    let offset = 0; // UTF-16 unit
    const text = t.chars.join("");
    const copyTo = (stop: number): void => {
      for (; offset < stop; at++) {
        out.push(t.chars[at]!, t, at);
        offset += t.chars[at]!.length;
      }
    };
    for (const match of text.matchAll(pattern)) {
      copyTo(match.index);
      for (const stop = match.index + match[0].length; offset < stop; at++) offset += t.chars[at]!.length;
      for (const c of content) out.push(c, t, Math.max(at - 1, 0));
    }
    copyTo(text.length);
    return out;
  };
}

function prepend(config: JsonObject): Normalize {
  const added = Array.from(typeof config["prepend"] === "string" ? config["prepend"] : "");
  return (t) => {
    if (t.chars.length === 0) return t;
    const out = new Builder();
    for (const c of added) out.push(c, t, 0);
    t.chars.forEach((c, i) => out.push(c, t, i));
    return out;
  };
}

const space = /\p{White_Space}/u;

function strip(config: JsonObject): Normalize {
  return (t) => {
    let [from, to] = [0, t.chars.length];
    if (config["strip_left"] === true) while (from < to && space.test(t.chars[from]!)) from++;
    if (config["strip_right"] === true) while (to > from && space.test(t.chars[to - 1]!)) to--;
    return slice(t, from, to);
  };
}

const cjk =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/u;

function bert(config: JsonObject): Normalize {
  const on = (key: string, fallback: boolean): boolean => (typeof config[key] === "boolean" ? config[key] : fallback);
  const steps: Normalize[] = [];
  if (on("clean_text", true))
    steps.push(
      each((c) => {
        if (/[\t\n\r]/.test(c)) return " ";
        return c === "\0" || c === "\ufffd" || /\p{C}/u.test(c) ? "" : space.test(c) ? " " : c;
      }),
    );
  if (on("handle_chinese_chars", true)) steps.push(each((c) => (cjk.test(c) ? ` ${c} ` : c)));
  if (on("strip_accents", on("lowercase", true)))
    steps.push(
      unicode("NFD"),
      each((c) => (/\p{Mn}/u.test(c) ? "" : c)),
    );
  if (on("lowercase", true)) steps.push(lowercase);
  return chain(...steps);
}

const lowercase: Normalize = each((c) => c.toLowerCase());

/** Sentencepiece's character map, cluster by cluster: each result spans the whole cluster. */
function characterMap(config: JsonObject): Normalize {
  const map = precompiled(config);
  return (t) => {
    const out = new Builder();
    for (let from = 0, to = 0; from < t.chars.length; from = to) {
      to = clusterEnd(t.chars, from);
      for (const c of map.normalize(t.chars.slice(from, to).join(""))) out.push(c, t, from, to - 1);
    }
    return out;
  };
}

const NORMALIZERS: { readonly [type: string]: (config: JsonObject) => Normalize } = {
  NFC: () => unicode("NFC"),
  NFD: () => unicode("NFD"),
  NFKC: () => unicode("NFKC"),
  NFKD: () => unicode("NFKD"),
  Lowercase: () => lowercase,
  StripAccents: () => each((c) => (/\p{M}/u.test(c) ? "" : c)),
  Strip: strip,
  Replace: replace,
  Prepend: prepend,
  BertNormalizer: bert,
  Precompiled: characterMap,
};

const unsupported = (what: string): TokenizerError =>
  new TokenizerError("unknown normaliser", {
    code: "tokenizer/unsupported",
    where: "key normalizer",
    expected: `one of ${Object.keys(NORMALIZERS).join(", ")}`,
    received: what,
  });

/** The normaliser that tokenizer.json describes; null when there is none. */
export function normalizerOf(config: JsonObject | null): Normalize | null {
  const steps = flatSteps(config).map((step) => {
    const make = entryOf(NORMALIZERS, step["type"]);
    if (make === undefined) throw unsupported(String(step["type"]));
    return make(step);
  });
  return steps.length === 0 ? null : chain(...steps);
}
