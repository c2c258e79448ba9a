import { inspect } from "node:util";
import { afterEach, describe, expect, it, vi } from "vitest";
import { displayed, isDisplayable, type Displayable, type MimeBundle } from "./displayable.ts";
import { Figure } from "./figure.ts";
import { Section } from "./section.ts";
import { show } from "./show.ts";
import { Table } from "./table.ts";

const table = new Table(
  [
    { key: "name", label: "Name <i>" },
    { key: "effect", label: "Effect" },
  ],
  [
    ["<script>alert(1)</script>", 0.25],
    ["b\u0000\ud800", -1],
  ],
  "A & B",
);
const figure = new Figure({ title: "Plot", width: 300, height: 200, series: [{ mark: "dot", x: [1], y: [1] }] });
const section = new Section([table, "Some <b>words</b>", new Section([figure], { title: "Inner" })], {
  title: "Outer",
});

/** Every `<` of the text starts one of these tags. */
function onlyTags(html: string, tags: string): boolean {
  return [...html.matchAll(/<\/?([a-z0-9]*)/g)].every(([, tag]) => tags.split(" ").includes(tag!));
}

describe("HTML", () => {
  it("of a table escapes everything, and keeps full values", async () => {
    const html = await table.toHTML({ style: false });
    expect(onlyTags(html, "div table caption thead tbody tr th td")).toBe(true);
    expect(html).toContain("<caption>A &amp; B</caption>");
    expect(html).toContain('<td class="it-text">&lt;script&gt;alert(1)&lt;/script&gt;</td>');
    expect(html).toContain('data-value="0.25"');
    expect(html).toContain("b\ufffd\ufffd");
    // Decimal points stand below each other: the integer is filled up with a point's and two digits' space.
    expect(html).toContain(">-1\u2008\u2007\u2007</td>");
  });

  it("has its style once, and headings that nest", async () => {
    const html = await section.toHTML();
    expect(html.match(/<style>\s*\.it-/g)?.length).toBe(1);
    expect(html).toContain("<h2>Outer</h2>");
    expect(html).toContain("<h3>Inner</h3>");
    expect(html).toContain("<p>Some &lt;b&gt;words&lt;/b&gt;</p>");
    expect(html).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
    expect((await section.toHTML({ style: false, level: 6 })).match(/<h6>/g)?.length).toBe(2);
  });
});

describe("a section", () => {
  it("is as wide as its widest part and as high as all of them", async () => {
    const size = (svg: string): [number, number] => {
      const [, width, height] = /width="([\d.]+)" height="([\d.]+)"/.exec(svg)!.map(Number);
      return [width!, height!];
    };
    const parts = await Promise.all([table.toSVG(), figure.toSVG()]);
    const both = await new Section([table, figure]).toSVG();
    const sizes = parts.map(size);
    expect(size(both)).toEqual([Math.max(...sizes.map(([w]) => w)), sizes.reduce((sum, [, h]) => sum + h, 0)]);
    expect(both).toContain(`<svg y="${sizes[0]![1]}" `);
  });

  it("is text, JSON and CSV", () => {
    expect(String(section).split("\n").slice(0, 4)).toEqual(["Outer", "=====", "", "A & B"]);
    expect(JSON.parse(JSON.stringify(section))).toMatchObject({
      title: "Outer",
      items: [{ title: "A & B" }, "Some <b>words</b>", { data: { title: "Inner" } }],
    });
    expect(new Section([table, "words"]).toCSV()).toBe(`A & B\r\n${table.toCSV()}\r\nwords\r\n`);
  });

  it("and a table stay as they were looked at", async () => {
    await expect(await new Section([table, "Words."], { title: "Both" }).toSVG()).toMatchFileSnapshot(
      "../../test/goldens/figures/section.svg",
    );
  });
});

describe("showing", () => {
  const bundle = (thing: object): Promise<MimeBundle> =>
    (thing as Record<symbol, () => Promise<MimeBundle>>)[Symbol.for("Jupyter.display")]!();
  const data = displayed({ n: 3, list: [1] }, () => table, { toJSON: () => ({ n: 3 }) });
  const deno = globalThis as { Deno?: unknown };

  afterEach(() => {
    vi.restoreAllMocks();
    delete deno.Deno;
  });

  it.each<[string, Displayable]>([
    ["table", table],
    ["figure", figure],
    ["section", section],
    ["data with a view", data],
  ])("a notebook gets a %s as text, HTML and drawing", async (_, thing) => {
    expect(await bundle(thing)).toEqual({
      "text/plain": String(thing),
      "text/html": await thing.toHTML(),
      "image/svg+xml": await thing.toSVG(),
    });
    expect(isDisplayable(thing)).toBe(true);
    expect(inspect(thing)).toBe(String(thing));
  });

  it("data keeps its own properties", () => {
    expect(Object.keys(data)).toEqual(["n", "list"]);
    expect(data).toEqual({ n: 3, list: [1] });
    expect(JSON.stringify(data)).toBe('{"n":3}');
    expect(data.toCSV()).toBe(table.toCSV());
    expect([isDisplayable({ n: 3 }), isDisplayable(null), isDisplayable("text")]).toEqual([false, false, false]);
  });

  it("prints in a terminal, also under Deno without a kernel", async () => {
    const log = vi.spyOn(console, "log").mockReturnValue(undefined);
    await show(table, "and", { n: 1 });
    deno.Deno = {
      get jupyter(): never {
        throw new Error("only in a notebook");
      },
    };
    await show(figure);
    expect(log.mock.calls).toEqual([[`${String(table)}\n`], ["and"], [{ n: 1 }], [`${String(figure)}\n`]]);
  });

  it("displays in a notebook, in order", async () => {
    const log = vi.spyOn(console, "log").mockReturnValue(undefined);
    const seen: unknown[] = [];
    deno.Deno = { jupyter: { display: async (thing: unknown) => void seen.push(thing) } };
    await show(table, "text", figure);
    expect(seen).toEqual([table, figure]);
    expect(log.mock.calls).toEqual([["text"]]);
  });
});
