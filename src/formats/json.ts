/** @file JSON from strangers: valid UTF-8, no key twice. */
import { FormatError } from "./errors.ts";

/**
 * Parse UTF-8 JSON strictly: invalid UTF-8, a byte order mark and a key that occurs twice in an object are `FormatError`s.
 * `__proto__` comes out as an ordinary own key, as `JSON.parse` makes it: read keys with `Object.entries`.
 */
export function parseJson(bytes: Uint8Array, where: string): unknown {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError("the text is not valid UTF-8", { code: "formats/invalid", where, cause });
  }
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError("the text is not valid JSON", { code: "formats/invalid", where, received: reason, cause });
  }
  if (writtenKeys(text) !== keptKeys(value))
    throw new FormatError("a key occurs twice in one JSON object", { code: "formats/invalid", where });
  return value;
}

/** How many `key: value` pairs valid JSON text spells out: the colons outside strings. */
function writtenKeys(text: string): number {
  let count = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (inString) {
      if (unit === 0x5c /* \ */) i++;
      else if (unit === 0x22 /* " */) inString = false;
    } else if (unit === 0x22) inString = true;
    else if (unit === 0x3a /* : */) count++;
  }
  return count;
}

function keptKeys(root: unknown): number {
  let count = 0;
  const pending = [root];
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value !== "object" || value === null) continue;
    const children: unknown[] = Array.isArray(value) ? value : Object.values(value);
    if (!Array.isArray(value)) count += children.length;
    for (const child of children) if (typeof child === "object") pending.push(child);
  }
  return count;
}

/** Whether a JSON value is an object (and not an array or null). */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
