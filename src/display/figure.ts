/** @file A plot as data, drawn as SVG and PNG, in a terminal, and as rows. */
import { InterpretuneError } from "../graph/errors.ts";
import { displayAs, type Displayable, type HtmlOptions, type PngOptions } from "./displayable.ts";
import type { FigureSpec } from "./figureSpec.ts";
import { drawText } from "./figureText.ts";
import { csvLine } from "./numbers.ts";
import { displayStyle } from "./style.ts";

const columns = ["x", "y", "x2", "y2"] as const;

/**
 * A plot as data. Nothing is drawn before a rendering is asked for; drawing libraries are loaded then.
 *
 * @throws InterpretuneError when the columns of a series are not equally long
 *
 * @example
 * ```ts
 * const figure = new Figure({
 *   title: "Effects on the logit difference",
 *   x: { label: "Latent" },
 *   series: [{ mark: "stem", x: [3, 9464], y: [-0.02, 0.15], labels: ["#3", "#9464"] }],
 * });
 * console.log(String(figure));
 * const svg = await figure.toSVG();
 * ```
 */
export class Figure implements Displayable {
  readonly spec: FigureSpec;

  constructor(spec: FigureSpec) {
    for (const [i, series] of spec.series.entries()) {
      const given = [...columns, "labels" as const].flatMap((name) =>
        series[name] ? [[name, series[name].length]] : [],
      );
      if (new Set(given.map(([, length]) => length)).size > 1)
        throw new InterpretuneError("the columns of a series are not equally long", {
          code: "display/series",
          received: given.map(([name, length]) => `${name}: ${length}`).join(", "),
          where: series.name ?? `series ${i} (${series.mark})`,
        });
    }
    this.spec = spec;
  }

  get title(): string | undefined {
    return this.spec.title;
  }

  /** A drawing in braille dots, 80 columns wide, below its title. */
  toString(): string {
    return drawText(this.spec);
  }

  async toHTML({ style = true }: HtmlOptions = {}): Promise<string> {
    return `${style ? displayStyle : ""}<figure class="it-figure">${await this.toSVG()}</figure>`;
  }

  async toSVG(): Promise<string> {
    const { drawSvg } = await import("./figureSvg.ts");
    return drawSvg(this.spec);
  }

  async toPNG(options: PngOptions = {}): Promise<Uint8Array> {
    const { png } = await import("./png.ts");
    return png(await this.toSVG(), options);
  }

  /** The figure as it was given, columns as arrays. */
  toJSON(): FigureSpec {
    const series = this.spec.series.map((each) => ({
      ...each,
      ...Object.fromEntries(columns.flatMap((name) => (each[name] ? [[name, Array.from<unknown>(each[name])]] : []))),
    }));
    return { ...this.spec, series };
  }

  /** One line per point: series, x, y, x2, y2, label. */
  toCSV(): string {
    const lines = this.spec.series.flatMap((series, i) => {
      const { name = `${series.mark} ${i}`, x, y, x2, y2, labels } = series;
      return Array.from({ length: (x ?? y)?.length ?? 0 }, (_, p) =>
        csvLine([name, x?.[p], y?.[p], x2?.[p], y2?.[p], labels?.[p]]),
      );
    });
    return csvLine(["series", ...columns, "label"]) + lines.join("");
  }

  static {
    displayAs(this);
  }
}
