/** @file From the table's folded texts to SAEs; scripts/make-sae-registry.mjs folds them. */
import { present } from "../../graph/options.ts";

/** One SAE of a release. */
export interface RegisteredSae {
  readonly release: string;
  readonly id: string;
  /** Where it is in the release's repository: a folder or a file, as the release's loader knows. */
  readonly path: string;
  /** `gpt2-small/9-att-kk`: its pages on Neuronpedia are below this. */
  readonly neuronpediaId?: string;
  /** Latents that are active per token, on average, as published. */
  readonly l0?: number;
  readonly varianceExplained?: number;
  readonly normScalingFactor?: number;
}

/** The SAEs of a release's lines. */
export function unfoldSaes(release: string, lines: readonly string[]): RegisteredSae[] {
  return lines.flatMap((line) => {
    const [form = "", slots = "", ...cells] = line.split("\t");
    const rows = unfoldTree(slots);
    const [paths, pages, l0, variance, scale] = Array.from({ length: 5 }, (_, i) => unfoldRuns(cells[i], rows));
    const number = (text: string | undefined): number | undefined => (text ? Number(text) : undefined);
    return rows.map((row, i) => ({
      release,
      id: fill(form, row),
      path: paths![i]!,
      ...present({
        neuronpediaId: pages![i] || undefined,
        l0: number(l0![i]),
        varianceExplained: number(variance![i]),
        normScalingFactor: number(scale![i]),
      }),
    }));
  });
}

const fill = (template: string, slots: readonly string[]): string =>
  template.replaceAll(/\$(\d)/g, (_, i: string) => slots[Number(i)]!);

/** `0-2(16,65)`: the rows 0 16, 0 65, 1 16 … An empty text is one row without slots. */
function unfoldTree(text: string): string[][] {
  if (text === "") return [[]];
  const rows: string[][] = [];
  for (let at = 0; at < text.length;) {
    const [values] = /^[\d,-]+/.exec(text.slice(at))!;
    at += values.length;
    let below = "";
    if (text[at] === "(") {
      const start = at + 1;
      for (let depth = 0; at < text.length; at++) {
        if (text[at] === "(") depth++;
        else if (text[at] === ")" && --depth === 0) break;
      }
      below = text.slice(start, at++);
    }
    const rest = unfoldTree(below);
    for (const value of unfoldRanges(values)) for (const row of rest) rows.push([value, ...row]);
  }
  return rows;
}

function unfoldRanges(text: string): string[] {
  return text.split(",").flatMap((part) => {
    const [first, last] = part.split("-");
    if (last === undefined) return [part];
    const length = Number(last) - Number(first) + 1;
    return Array.from({ length }, (_, i) => String(Number(first) + i));
  });
}

/** `a$0*2|b`: for three rows. */
function unfoldRuns(text: string | undefined, rows: readonly (readonly string[])[]): string[] {
  if (!text) return rows.map(() => "");
  const templates = text.split("|").flatMap((run) => {
    const [template, count = "1"] = run.split("*");
    return new Array<string>(Number(count)).fill(template!);
  });
  return rows.map((row, i) => fill(templates[i]!, row));
}
