import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import type { InterpretuneError } from "../graph/errors.ts";
import { Figure } from "./figure.ts";
import type { FigureSpec } from "./figureSpec.ts";

const stems: FigureSpec = {
  title: "Effects of <latents>",
  subtitle: "three of sixteen",
  width: 400,
  height: 240,
  x: { label: "Latent", domain: [0, 15] },
  y: { label: "Effect" },
  series: [{ mark: "stem", x: [2, 5, 12], y: [0.5, -0.25, 1], labels: ["#2", '#5 & "more"', "#12"] }],
};
const scatter: FigureSpec = {
  title: "One against the other",
  width: 400,
  height: 300,
  x: { label: "Ablation" },
  y: { label: "Gradient" },
  series: [
    { mark: "line", name: "equal", x: [-1, 2], y: [-1, 2], hue: "negative", dashed: true },
    { mark: "dot", name: "latent", x: [-1, 0, 2], y: [-0.9, 0.1, 2], hue: "positive", labels: ["a", "b", "c"] },
  ],
};
const bars: FigureSpec = {
  width: 360,
  height: 200,
  x: { label: "activation" },
  y: { label: "tokens", scale: "log" },
  series: [{ mark: "bar", x: [0, 1, 2], x2: [1, 2, 3], y: [100, 10, 1], hue: "accent" }],
};
const intervals: FigureSpec = {
  width: 360,
  height: 200,
  series: [
    { mark: "rule", y: [0] },
    { mark: "interval", x: ["#1", "#2"], y: [-1, 1], y2: [1, 3] },
    { mark: "dot", x: ["#1", "#2"], y: [0, 2] },
  ],
};

interface Drawing {
  querySelectorAll(selector: string): Iterable<{ getAttribute(name: string): string | null; textContent: string }>;
}

async function drawing(spec: FigureSpec): Promise<Drawing> {
  return parseHTML(await new Figure(spec).toSVG()).document;
}

describe("a figure as SVG", () => {
  it.each(Object.entries({ stems, scatter, bars, intervals }))("%s stay as they were looked at", async (name, spec) => {
    await expect(await new Figure(spec).toSVG()).toMatchFileSnapshot(`../../test/goldens/figures/${name}.svg`);
  });

  it("is the same whenever it is drawn", async () => {
    const drawn = await Promise.all([1, 2].map(() => new Figure(stems).toSVG()));
    expect(drawn[0]).toBe(drawn[1]);
  });

  it("is complete on its own, and well-formed", async () => {
    const svg = await new Figure(stems).toSVG();
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" [^>]*width="400" height="240"/);
    expect(svg).toContain('aria-label="Effects of &lt;latents&gt;. three of sixteen"');
    expect(svg).toContain('<title>#5 &amp; "more"</title>');
    expect(svg).not.toMatch(/https?:\/\/(?!www\.w3\.org)|<script|url\(/);
  });

  it("has stems as long as their values, in the colour of their sign", async () => {
    const lines = [...(await drawing(stems)).querySelectorAll('[aria-label="rule"] line')].slice(-3);
    const [a, c, b] = lines.map((line) => Number(line.getAttribute("y1")) - Number(line.getAttribute("y2")));
    expect(a! / c!).toBeCloseTo(0.5, 2);
    expect(b! / c!).toBeCloseTo(-0.25, 2);
    const [first, third, second] = lines.map((line) => Number(line.getAttribute("x1")));
    expect((second! - first!) / (third! - first!)).toBeCloseTo(3 / 10, 2);
    for (const [hue, count] of [
      ["positive", 2],
      ["negative", 1],
    ] as const) {
      const dots = (await drawing(stems)).querySelectorAll(`[fill^="var(--it-${hue}"] circle`);
      expect([...dots].length).toBe(count);
    }
  });

  it("leaves out what is not finite, and draws nothing of nothing", async () => {
    const dots = await drawing({ series: [{ mark: "dot", x: [1, 2, 3], y: [1, NaN, Infinity] }] });
    expect([...dots.querySelectorAll("circle")].length).toBe(1);
    const none = await drawing({ title: "Empty", series: [{ mark: "stem", x: [], y: [] }] });
    expect([...none.querySelectorAll("circle")].length).toBe(0);
    expect([...none.querySelectorAll("text")].map((text) => text.textContent)).toContain("Empty");
  });

  it("shows positive values only on a logarithmic axis", async () => {
    const spec: FigureSpec = { y: { scale: "log" }, series: [{ mark: "dot", x: [1, 2, 3], y: [0, 10, 1000] }] };
    const heights = [...(await drawing(spec)).querySelectorAll("circle")].map((dot) => Number(dot.getAttribute("cy")));
    expect(heights.length).toBe(2);
    const ticks = [...(await drawing(spec)).querySelectorAll('[aria-label="y-axis tick label"] text')];
    expect(ticks.map((tick) => tick.textContent)).toEqual(["10", "100", "1000"]);
  });
});

it("loads what draws only when something is drawn", () => {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  const sources = readdirSync(folder).filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"));
  const importing = (what: RegExp): string[] =>
    sources.filter((file) => what.test(readFileSync(join(folder, file), "utf8")));
  expect(importing(/^import .*"(@observablehq\/plot|linkedom)"/m)).toEqual(["figureSvg.ts"]);
  expect(importing(/^import .*"(@resvg\/resvg-js|\.\/figureSvg\.ts|\.\/png\.ts)"/m)).toEqual([]);
});

describe("a figure elsewhere", () => {
  it("is drawn of whatever text tokens are", async () => {
    const strange = ["\u0000<b>&\ud800", "]]>", "\u202e"];
    const [y, labels] = [[1, 2, 3], strange.map((text) => `label ${text}`)];
    const axis = { label: "\u001b[31m" };
    const figure = new Figure({
      title: strange[0],
      x: axis,
      y: axis,
      series: [{ mark: "bar", x: strange, y, labels }],
    });
    expect((await figure.toPNG({ scale: 1 })).byteLength).toBeGreaterThan(1000); // its parser is strict
    expect(String(figure)).not.toMatch(/[\u0000\u001b]/);
  });

  it("is a PNG of the size that was asked for, light or dark", async () => {
    const figure = new Figure(stems);
    const [light, dark] = await Promise.all([figure.toPNG({ scale: 1 }), figure.toPNG({ scale: 2, theme: "dark" })]);
    const size = (png: Uint8Array): number[] => {
      const view = new DataView(png.buffer, png.byteOffset);
      return [view.getUint32(16), view.getUint32(20)];
    };
    expect([...light.subarray(1, 4)]).toEqual([..."PNG"].map((c) => c.charCodeAt(0)));
    expect([size(light), size(dark)]).toEqual([
      [400, 240],
      [800, 480],
    ]);
  });

  it("is drawn in a terminal", () => {
    const lines = String(new Figure(stems)).split("\n");
    expect(lines.slice(0, 3)).toEqual(["Effects of <latents>", "three of sixteen", "Effect"]);
    expect(lines.at(-1)).toMatch(/^ +0 +Latent +15$/);
    expect(lines[3]).toMatch(/^ +1 ┤ +[\u2801-\u28ff]$/); // the tallest stem's end, alone in its row
    expect(lines.filter((line) => /[\u2801-\u28ff]/.test(line)).length).toBe(14); // stems from top to bottom
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(inspect(new Figure(stems))).toBe(lines.join("\n"));
  });

  it("is JSON and CSV", () => {
    const figure = new Figure({ series: [{ mark: "dot", x: Int32Array.of(3, 4), y: Float32Array.of(0.5, -1) }] });
    expect(JSON.parse(JSON.stringify(figure))).toEqual({ series: [{ mark: "dot", x: [3, 4], y: [0.5, -1] }] });
    expect(new Figure(scatter).toCSV().split("\r\n").slice(0, 4)).toEqual([
      "series,x,y,x2,y2,label",
      "equal,-1,-1,,,",
      "equal,2,2,,,",
      "latent,-1,-0.9,,,a",
    ]);
  });

  it("refuses columns of different lengths", () => {
    const make = (): Figure => new Figure({ series: [{ mark: "dot", x: [1, 2], y: [1] }] });
    expect(make).toThrow(/not equally long.*x: 2, y: 1/);
    expect(
      (() => {
        try {
          return make();
        } catch (error) {
          return (error as InterpretuneError).code;
        }
      })(),
    ).toBe("display/series");
  });
});
