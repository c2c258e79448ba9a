import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Script } from "node:vm";
import { describe, expect, it } from "vitest";
import { contrasts, palette } from "./palette.ts";
import { embeddedJson } from "./page.ts";
import { joinModules, pageScript } from "./script.ts";

/** Relative luminance and contrast of WCAG 2.2. */
function luminance(colour: readonly number[]): number {
  const [r, g, b] = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}
const rgb = (hex: string): number[] => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
function contrast(front: readonly number[], back: readonly number[]): number {
  const [a, b] = [luminance(front), luminance(back)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

describe.each([
  ["light", 0],
  ["dark", 1],
] as const)("colours in %s", (_, theme) => {
  it.each(contrasts)("%s on %s has a contrast of %s", (front, back, ratio) => {
    expect(contrast(rgb(palette[front][theme]), rgb(palette[back][theme]))).toBeGreaterThanOrEqual(ratio);
  });

  it("text can be read on the warmest token", () => {
    for (const back of ["paper", "raised"] as const) {
      const [heat, under] = [rgb(palette.heat[theme]), rgb(palette[back][theme])];
      const mixed = heat.map((c, i) => 0.7 * c + 0.3 * under[i]!);
      expect(contrast(rgb(palette.ink[theme]), mixed)).toBeGreaterThanOrEqual(4.5);
    }
  });
});

it("black on white has a contrast of 21", () => {
  expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21, 5);
});

describe("embedded JSON", () => {
  it("cannot end its element, start a comment or break a line", () => {
    const value = { text: "</script><!-- <script> & \u2028\u2029" };
    const text = embeddedJson(value);
    expect(text).not.toMatch(/[<>&\u2028\u2029]/);
    expect(JSON.parse(text)).toEqual(value);
  });

  it("keeps integers and five digits of fractions", () => {
    expect(embeddedJson([1234567, 0.123456789, 1e-9, -2.5])).toBe("[1234567,0.12346,1e-9,-2.5]");
  });
});

describe("the joined script", () => {
  it("is one script without imports or exports", async () => {
    const script = await pageScript();
    expect(() => new Script(script)).not.toThrow();
    expect(script).not.toMatch(/^(?:import|export)\b/m);
    expect(script).not.toContain("</script");
  });

  it("keeps the names of modules apart and runs each once", async () => {
    const folder = await mkdtemp(join(tmpdir(), "modules-"));
    const modules = {
      "entry.js": `import { twice as both } from "./a.js";\nimport { twice } from "./b.js";\nreport(both(2), twice(2));`,
      "a.js": `import { count } from "./b.js";\nconst own = 2;\nexport function twice(x) { return own * x + count(); }`,
      "b.js": `/** Text: export const x. */\nlet own = 10;\nexport const twice = (x) => own * x;\nexport function count() { return own++; }`,
    };
    try {
      for (const [name, text] of Object.entries(modules)) await writeFile(join(folder, name), text);
      const script = await joinModules(pathToFileURL(join(folder, "entry.js")));
      const said: unknown[] = [];
      new Script(script).runInNewContext({ report: (...values: unknown[]) => said.push(...values) });
      expect(said).toEqual([14, 22]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
