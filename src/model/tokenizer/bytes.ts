/** @file Tokens as bytes: the byte-level alphabet of GPT-2 and the `<0xNN>` tokens of sentencepiece. */

/** GPT-2's alphabet: every byte has a printable character; those without one of their own get U+0100 upwards. */
const CHAR_OF_BYTE: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, b) =>
    String.fromCodePoint((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174 ? b : next++),
  );
})();
const BYTE_OF_CHAR: ReadonlyMap<string, number> = new Map(CHAR_OF_BYTE.map((c, b) => [c, b]));

const utf8 = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes that a string of the byte-level alphabet stands for; null when a character is not of it. */
export function bytesOfByteLevel(token: string): Uint8Array<ArrayBuffer> | null {
  const bytes = Array.from(token, (c) => BYTE_OF_CHAR.get(c) ?? -1);
  return bytes.includes(-1) ? null : Uint8Array.from(bytes);
}

/** The byte of a byte-fallback token `<0xNN>`; null for any other token. */
export function byteOfFallback(token: string): number | null {
  const match = /^<0x([0-9A-F]{2})>$/.exec(token);
  return match === null ? null : parseInt(match[1]!, 16);
}

/** Text of valid UTF-8, lone bytes as U+FFFD: what a decoder shows. */
export const looseText = (bytes: Uint8Array): string => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);

/** Bytes for the eye: valid UTF-8 as text, every byte that is not part of it as `<0xNN>`. */
export function showBytes(bytes: Uint8Array): string {
  let out = "";
  for (let i = 0; i < bytes.length;) {
    const lead = bytes[i]!;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    try {
      out += strict.decode(bytes.subarray(i, i + length));
      i += length;
    } catch {
      out += `<0x${lead.toString(16).toUpperCase().padStart(2, "0")}>`;
      i++;
    }
  }
  return out;
}

export const utf8Bytes = (text: string): Uint8Array<ArrayBuffer> => utf8.encode(text);
