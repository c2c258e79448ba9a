/** @file The first two sections: the run at a glance, and what the SAEs do to the answers. */
import { escapeText, percent, signed } from "../../analysis/dashboards/card.ts";
import type { Outcome, PlainTable, ReportData } from "../data.ts";
import { element, section } from "./html.ts";
import type { Model } from "./model.ts";
import { plot } from "./plot.ts";
import type { PlotPoint } from "./plotSvg.ts";
import { grid } from "./table.ts";

/** Outcomes as people read them. */
export const outcomeNames: Readonly<Record<Outcome, string>> = {
  kept: "right with and without",
  broken: "broken by the SAEs",
  repaired: "repaired by the SAEs",
  wrong: "wrong with and without",
};

const tones: Readonly<Record<Outcome, PlotPoint["tone"]>> = {
  kept: "plain",
  broken: "down",
  repaired: "up",
  wrong: "hollow",
};

/** Figures that a reader wants first. */
export function overview({ data, latents }: Model): HTMLElement {
  const root = section("overview", "At a glance", "At a glance", "");
  const { examples, agreement } = data;
  const n = examples.length;
  const right = (side: "base" | "sae"): number | null =>
    examples.some((each) => each[side] !== null)
      ? examples.filter((each) => each[side]?.answer === each.answer).length
      : null;
  const mean = (side: "base" | "sae"): string =>
    `mean logit difference ${signed(examples.reduce((sum, each) => sum + (each[side]?.diff ?? 0), 0) / n)}`;
  const tiles: [string, string, string][] = [];
  const [base, sae] = [right("base"), right("sae")];
  if (base !== null) tiles.push(["Plain model", `${base} of ${n} right`, mean("base")]);
  if (sae !== null) tiles.push(["With SAEs", `${sae} of ${n} right`, mean("sae")]);
  const counts = new Map(data.outcomes.map(({ outcome, count }) => [outcome, count]));
  if (counts.size > 0)
    tiles.push([
      "Answers changed",
      `${counts.get("broken") ?? 0} broken, ${counts.get("repaired") ?? 0} repaired`,
      data.pValue === null ? "" : `McNemar's exact test: p = ${data.pValue.toPrecision(2)}`,
    ]);
  const strongest = [...latents].sort((a, b) => Math.abs(b.unmasked ?? b.mean) - Math.abs(a.unmasked ?? a.mean))[0];
  if (strongest !== undefined)
    tiles.push([
      "Strongest latent",
      `<a href="#latent/${strongest.hook}/${strongest.latent}">#${strongest.latent}</a> ${signed(strongest.unmasked ?? strongest.gradient ?? strongest.mean)}`,
      `total effect; ${latents.length} latents have one`,
    ]);
  if (agreement.length > 0)
    tiles.push([
      "Gradient vs ablation",
      agreement.map(({ pearson }) => (pearson === null ? "–" : pearson.toFixed(3).replace("-", "−"))).join(" / "),
      agreement.length === 1 ? "Pearson correlation" : "Pearson correlation, hook by hook",
    ]);
  root.append(
    element(
      `<dl class="tiles">${tiles.map(([name, big, note]) => `<div class="tile"><dt>${name}</dt><dd class="big">${big}</dd><dd class="note">${note}</dd></div>`).join("")}</dl>`,
    ),
  );
  return root;
}

/** A table whose cells are given. */
export function plain(table: PlainTable): HTMLElement {
  return grid<PlainTable["rows"][number]>({
    caption: table.title,
    page: 50,
    rows: table.rows,
    columns: table.columns.map(({ label, numeric }, c) => ({
      label,
      numeric,
      value: (row) => row[c]!.value,
      cell: (row) => escapeText(row[c]!.text),
    })),
  }).element;
}

function shares(data: ReportData): HTMLElement {
  const n = data.examples.length;
  const rows = data.outcomes.map(({ outcome, count, change }) => ({ outcome, count, change }));
  return grid({
    caption: "What became of the answers",
    rows,
    columns: [
      {
        label: "Answer",
        value: ({ outcome }) => outcomeNames[outcome],
        cell: ({ outcome }) => `<span class="tag ${outcome}">${outcomeNames[outcome]}</span>`,
      },
      { label: "Examples", numeric: true, value: ({ count }) => count },
      { label: "Share", numeric: true, value: ({ count }) => count / n, cell: ({ count }) => percent(count / n) },
      {
        label: "Mean change of the logit difference",
        numeric: true,
        value: ({ change }) => change,
        cell: ({ change }) => (change === null ? "" : signed(change)),
      },
    ],
  }).element;
}

/** Accuracy, both directions of change, and every example as a point. */
export function answers(model: Model): HTMLElement {
  const { data } = model;
  const root = section(
    "answers",
    "Answers",
    "What the SAEs do to the answers",
    "Replacing activations by their reconstructions costs something. A logit difference is the right answer's logit minus that of the others; above 0 the answer is right.",
  );
  const left = document.createElement("div");
  left.append(plain(data.accuracy));
  if (data.outcomes.length > 0) left.append(shares(data));
  const columns = element('<div class="two"></div>');
  const points = data.examples.flatMap(({ id, base, sae, outcome }): PlotPoint[] => {
    if (base === null || sae === null || outcome === null) return [];
    const text = (): string =>
      `Example ${id}: ${outcomeNames[outcome]}\nplain ${signed(base.diff)}, with SAEs ${signed(sae.diff)}`;
    return [{ x: base.diff, y: sae.diff, tone: tones[outcome], opens: `#example/${id}`, text }];
  });
  columns.append(left);
  if (points.length > 0)
    columns.append(
      plot({
        title: "Logit differences without and with SAEs",
        about: "A point is an example. On the dashed line nothing changed; below it the SAEs cost margin.",
        mark: "dot",
        x: { label: "Plain model" },
        y: { label: "With SAEs" },
        diagonal: true,
        points,
        legend: (Object.keys(outcomeNames) as Outcome[]).map(
          (outcome) => [tones[outcome], outcomeNames[outcome]] as const,
        ),
      }),
    );
  root.append(columns);
  return root;
}
