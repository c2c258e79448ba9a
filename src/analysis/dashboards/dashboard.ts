/** @file Dashboards as results: text for a terminal, a card for a page, pictures and data. */
import { Ansis } from "ansis";
import {
  csvLine,
  displayAs,
  displayStyle,
  Figure,
  fixed,
  general,
  Section,
  Table,
  type Displayable,
  type HtmlOptions,
  type PngOptions,
} from "../../display/index.ts";
import { cardHtml, cardStyle, visible } from "./card.ts";
import type { DashboardData, ExampleGroup, Histogram, TokenExample, TokenWeight } from "./types.ts";

const number = (value: number): string => general(Number(value.toPrecision(4)));
const signed = (value: number): string => (value > 0 ? `+${number(value)}` : number(value));
const quoted = (token: string): string => JSON.stringify(token);

/** Counts as blocks, one character each; every count that is not 0 shows. */
function blocks({ counts }: Histogram, width = 40): string {
  const merge = Math.max(1, Math.ceil(counts.length / width));
  const merged = Array.from({ length: Math.ceil(counts.length / merge) }, (_, i) =>
    counts.slice(i * merge, (i + 1) * merge).reduce((sum, count) => sum + count, 0),
  );
  const most = Math.max(...merged);
  return merged
    .map((count) => (count === 0 ? " " : "▁▂▃▄▅▆▇█"[Math.max(0, Math.ceil((8 * count) / most) - 1)]))
    .join("");
}

/** Control characters of strangers' text do not reach the terminal. */
const harmless = (text: string): string =>
  visible(text).replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);

/** Tokens with a background by activation; the strongest stands in «» so that it shows without colours, too. */
function heatText(example: TokenExample, max: number, colours: Ansis): string {
  return example.tokens
    .map((token, i) => {
      const value = example.activations[i]!;
      const text = harmless(token);
      const marked = example.start + i === example.position ? `«${text}»` : text;
      const warmth = Math.min(1, value / max);
      return value > 0 ? colours.bgRgb(255, 225 - 110 * warmth, 190 - 180 * warmth).rgb(20, 20, 20)(marked) : marked;
    })
    .join("");
}

const groupTitle = ({ kind, from, to, share }: ExampleGroup): string =>
  kind === "top"
    ? "largest activations"
    : `${number(from)} to ${number(to)} (${number(100 * share)} % of its active tokens)`;

/**
 * What one latent does, in text, as a card, as pictures and as data.
 * @example
 * const latents = [{ hook: "blocks.9.attn.hook_z", latent: 7 }];
 * const [dashboard] = (await latentDashboards({ model, saes, latents, data: prompts })).dashboards;
 * dashboard.data.activity.density; // the share of tokens at which it is active
 */
export class Dashboard implements Displayable {
  readonly data: DashboardData;

  constructor(data: DashboardData) {
    this.data = data;
  }

  get title(): string {
    return `#${this.data.latent} at ${this.data.hook}`;
  }

  /** Text of a terminal: tokens have backgrounds by activation where it shows colours. */
  toString(): string {
    const { activity, histogram, groups, logits, neighbours, correlated, effects, neuronpedia } = this.data;
    const colours = new Ansis();
    const named = (weights: readonly TokenWeight[]): string =>
      weights.map(({ token, weight }) => `${quoted(token)} ${signed(weight)}`).join("  ");
    const lines = [
      this.title,
      `active at ${number(100 * activity.density)} % of ${activity.tokens} tokens, in ${activity.rows_active} of ${activity.rows} rows; largest ${number(activity.max)}, mean ${number(activity.mean)}`,
    ];
    if (histogram.counts.length > 0)
      lines.push(`activations  0 ${blocks(histogram)} ${number(histogram.edges.at(-1)!)}`);
    if (logits === null) lines.push("its hook point does not write to the residual stream: no logit weights");
    else {
      const { edges } = logits.histogram;
      lines.push(
        `logits       ${number(edges[0]!)} ${blocks(logits.histogram)} ${number(edges.at(-1)!)}  (${logits.through})`,
        `promotes     ${named(logits.promoted)}`,
        `suppresses   ${named(logits.suppressed)}`,
      );
    }
    if (neighbours.length > 0)
      lines.push(`neighbours   ${neighbours.map(({ latent, cosine }) => `#${latent} ${fixed(cosine, 2)}`).join("  ")}`);
    if (correlated.length > 0)
      lines.push(
        `together     ${correlated.map((c) => `#${c.latent}${c.hook === this.data.hook ? "" : ` at ${c.hook}`} ${fixed(c.correlation, 2)}`).join("  ")}`,
      );
    if (effects.length > 0) {
      const of = (name: string, values: readonly (number | null)[]): string =>
        values.some((value) => value !== null)
          ? `${name} ${signed(values.reduce<number>((sum, value) => sum + (value ?? 0), 0))}`
          : "";
      const totals = [
        of(
          "ablation",
          effects.map((e) => e.ablation),
        ),
        of(
          "gradient",
          effects.map((e) => e.gradient),
        ),
      ];
      lines.push(
        `task         active in ${effects.length} examples; total effects: ${totals.filter(Boolean).join(", ") || "none"}`,
      );
    }
    if (neuronpedia !== null) lines.push(neuronpedia.page);
    for (const group of groups) {
      if (group.examples.length === 0) continue;
      lines.push(groupTitle(group));
      for (const example of group.examples)
        lines.push(`  ${number(example.activation).padStart(7)}  ${heatText(example, activity.max, colours)}`);
    }
    return lines.join("\n");
  }

  /** A card: HTML without scripts. */
  toHTML({ style = true, level = 3 }: HtmlOptions = {}): Promise<string> {
    const sheets = style ? `${displayStyle}<style>${cardStyle}</style>` : "";
    return Promise.resolve(sheets + cardHtml(this.data, level));
  }

  /** Both histograms and the tokens as one drawing. */
  toSVG(): Promise<string> {
    return this.#drawing().toSVG();
  }

  toPNG(options: PngOptions = {}): Promise<Uint8Array> {
    return this.#drawing().toPNG(options);
  }

  toJSON(): DashboardData {
    return this.data;
  }

  /** The examples, a line each; tokens as a list. */
  toCSV(): string {
    const { hook, latent, groups } = this.data;
    const lines = groups.flatMap(({ kind, from, to, examples }) =>
      examples.map((e) =>
        csvLine([hook, latent, kind, from, to, e.row, e.position, e.activation, e.start, e.tokens, e.activations]),
      ),
    );
    const heads = [
      "hook",
      "latent",
      "group",
      "from",
      "to",
      "row",
      "position",
      "activation",
      "start",
      "tokens",
      "activations",
    ];
    return csvLine(heads) + lines.join("");
  }

  #drawing(): Section {
    const { histogram, logits, groups } = this.data;
    const bars = (title: string, { edges, counts }: Histogram): Figure =>
      new Figure({
        title,
        height: 200,
        series: [{ mark: "bar", x: edges.slice(0, -1), x2: edges.slice(1), y: counts }],
      });
    const tokens =
      logits &&
      new Table(
        [
          { key: "promotes", label: "Promotes" },
          { key: "weight", label: "" },
          { key: "suppresses", label: "Suppresses" },
          { key: "suppressed_weight", label: "" },
        ],
        logits.promoted.map((up, i) => {
          const down = logits.suppressed[i]!;
          return [quoted(up.token), signed(up.weight), quoted(down.token), signed(down.weight)];
        }),
      );
    const top = new Table(
      [
        { key: "activation", label: "Activation", format: (cell) => number(Number(cell)) },
        { key: "text", label: "Text", wrap: 90 },
      ],
      (groups[0]?.examples ?? []).map((e) => [e.activation, heatText(e, 1, new Ansis(0))]),
    );
    const parts = [
      histogram.counts.length > 0 && bars("Activations", histogram),
      logits && bars("Logit weights", logits.histogram),
      tokens,
      top,
    ];
    return new Section(
      parts.filter((part) => part !== false && part !== null),
      { title: this.title },
    );
  }

  static {
    displayAs(this);
  }
}

/** Several dashboards below each other. */
export class Dashboards implements Displayable {
  readonly title: string = "Latent dashboards";
  readonly dashboards: readonly Dashboard[];

  constructor(dashboards: readonly Dashboard[]) {
    this.dashboards = dashboards;
  }

  toString(): string {
    return this.dashboards.map(String).join("\n\n");
  }

  async toHTML({ style = true, level = 3 }: HtmlOptions = {}): Promise<string> {
    const cards = await Promise.all(this.dashboards.map((each) => each.toHTML({ style: false, level })));
    return (style ? `${displayStyle}<style>${cardStyle}</style>` : "") + cards.join("");
  }

  toSVG(): Promise<string> {
    return new Section(this.dashboards).toSVG();
  }

  toPNG(options: PngOptions = {}): Promise<Uint8Array> {
    return new Section(this.dashboards).toPNG(options);
  }

  toJSON(): DashboardData[] {
    return this.dashboards.map(({ data }) => data);
  }

  toCSV(): string {
    return this.dashboards.map((each, i) => (i === 0 ? each.toCSV() : each.toCSV().replace(/^.*\r\n/, ""))).join("");
  }

  static {
    displayAs(this);
  }
}
