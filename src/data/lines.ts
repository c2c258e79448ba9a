/** @file JSON Lines from a byte source, a line at a time. */
import type { ByteSource } from "../formats/index.ts";
import { DataError } from "./errors.ts";
import type { Located } from "./rows.ts";

const CHUNK = 1 << 20;
const MAX_LINE = 1 << 26;

/** The values of a JSON Lines source. A newline is the only separator; blank lines are left out; nothing is read ahead. */
export async function* jsonLines(source: ByteSource): AsyncGenerator<Located> {
  for await (const { value: text, where } of textLines(source)) {
    try {
      yield { value: JSON.parse(text) as unknown, where };
    } catch (cause) {
      throw new DataError("the line is not JSON", {
        code: "data/json",
        where,
        expected: "one JSON object on each line",
        received: `${text.slice(0, 60)}${text.length > 60 ? "…" : ""}`,
        hint: cause instanceof Error ? cause.message : undefined,
        cause,
      });
    }
  }
}

/** The lines of a text but blank ones. */
export async function* textLines(source: ByteSource): AsyncGenerator<Located & { readonly value: string }> {
  let line = 0;
  for await (const value of lines(source)) {
    line++;
    if (value.trim() !== "") yield { value, where: `${source.name}:${line}` };
  }
}

async function* lines(source: ByteSource): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  let count = 0;
  for (let at = 0; at < source.byteLength; at += CHUNK) {
    const end = Math.min(at + CHUNK, source.byteLength);
    let text: string;
    try {
      text = decoder.decode(await source.slice(at, end), { stream: end < source.byteLength });
    } catch (cause) {
      if (!(cause instanceof TypeError)) throw cause;
      throw new DataError("the text is not UTF-8", {
        code: "data/utf8",
        where: `${source.name}, line ${count + 1} or after`,
        cause,
      });
    }
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) yield part;
    count += parts.length;
    if (rest.length > MAX_LINE)
      throw new DataError("the line is too long", {
        code: "data/line",
        where: `${source.name}:${count + 1}`,
        expected: `at most ${MAX_LINE} characters`,
      });
  }
  if (rest !== "") yield rest;
}
