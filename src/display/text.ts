/** @file Laying text out in columns of a terminal, and making strangers' text harmless for where it is shown. */
import stringWidth from "string-width";

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * Text for HTML and XML, in an element or a quoted attribute. Characters that XML does not have are replaced.
 * @example
 * escapeHtml('<b title="x">'); // "&lt;b title=&quot;x&quot;&gt;"
 */
export function escapeHtml(text: string): string {
  return xmlText(text).replace(/[&<>"']/g, (character) => entities[character]!);
}

/** Text without the characters that XML does not have. */
export function xmlText(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu, "\ufffd");
}

/** Text for a terminal, which it must not drive: control characters are shown, not sent. */
export function printable(text: string): string {
  const lines = text.replaceAll("\r\n", "\n").replaceAll("\t", "    ");
  return lines.replace(
    /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

export function pad(text: string, width: number, left: boolean): string {
  const space = " ".repeat(Math.max(0, width - stringWidth(text)));
  return left ? text + space : space + text;
}

/** Appends spaces so that right-aligned numbers have their decimal points below each other. */
export function alignPoints(texts: readonly string[]): string[] {
  const after = texts.map((text) => {
    const point = text.includes(".") ? text.lastIndexOf(".") : text.lastIndexOf("e");
    return point < 0 ? -1 : text.length - point - 1;
  });
  const most = Math.max(-1, ...after);
  return texts.map((text, i) => text + " ".repeat(most - after[i]!));
}

/** Lines of at most `width` columns, broken between words, inside a word only where it is wider than a line. */
export function wrap(text: string, width: number): string[] {
  const out: string[] = [];
  for (const paragraph of text.split("\n")) {
    let line = "";
    for (const word of paragraph.split(" ")) {
      let rest = word;
      const joined = line === "" ? rest : `${line} ${rest}`;
      if (stringWidth(joined) <= width) {
        line = joined;
        continue;
      }
      if (line !== "") out.push(line);
      while (stringWidth(rest) > width) {
        const head = clip(rest, width);
        out.push(head);
        rest = rest.slice(head.length);
      }
      line = rest;
    }
    out.push(line);
  }
  return out;
}

/** The longest start of the text that fits, at least one character. */
function clip(text: string, width: number): string {
  let head = "";
  for (const character of text) {
    if (head !== "" && stringWidth(head + character) > width) break;
    head += character;
  }
  return head;
}
