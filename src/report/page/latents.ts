/** @file What carries the answer: effects of latents, how sure they are, and whether two methods agree. */
import { cardHtml, escapeText, percent, short, signed } from "../../analysis/dashboards/card.ts";
import type { ReportLatent } from "../data.ts";
import { element, latentLink, section, tinted } from "./html.ts";
import type { Model } from "./model.ts";
import { plot } from "./plot.ts";
import type { SheetContent } from "./sheet.ts";
import { grid, type GridColumn } from "./table.ts";

/** Its total effect where that is known, unmasked. */
const effect = (each: ReportLatent): number => each.unmasked ?? each.gradient ?? 0;

/** Mean and interval on an axis that all rows share. */
function range({ mean, low, high }: ReportLatent, [least, most]: readonly [number, number]): string {
  const x = (value: number): string => (((value - least) / (most - least)) * 100).toFixed(1);
  const whisker =
    low === null || high === null ? "" : `<line class="whisker" x1="${x(low)}" x2="${x(high)}" y1="8" y2="8"/>`;
  const say = `${signed(mean)}${low === null || high === null ? "" : `, ${signed(low)} to ${signed(high)}`}`;
  return (
    `<svg class="range" viewBox="0 0 100 16" preserveAspectRatio="none" role="img" aria-label="${say}"><title>${say}</title>` +
    `<line class="zero" x1="${x(0)}" x2="${x(0)}" y1="0" y2="16"/>${whisker}` +
    `<line class="${mean < 0 ? "down" : "up"}" x1="${x(mean)}" x2="${x(mean)}" y1="3" y2="13" stroke-width="3" vector-effect="non-scaling-stroke"/></svg>`
  );
}

function table(model: Model): HTMLElement {
  const { data, hookNames } = model;
  const { latents } = model;
  const { leading } = data;
  const ends = latents.flatMap(({ mean, low, high }) => [mean, low ?? mean, high ?? mean]);
  const axis = [ends.reduce((a, b) => Math.min(a, b), 0), ends.reduce((a, b) => Math.max(a, b), 1e-12)] as const;
  const number = (
    label: string,
    about: string,
    value: (each: ReportLatent) => number | null,
    say = signed,
  ): GridColumn<ReportLatent> => ({
    label,
    about,
    numeric: true,
    value,
    cell: (each) => {
      const found = value(each);
      return found === null ? "" : say === signed ? tinted(found) : say(found);
    },
  });
  const has = (value: (each: ReportLatent) => number | null): boolean => latents.some((each) => value(each) !== null);
  const columns: GridColumn<ReportLatent>[] = [
    {
      label: "Latent",
      value: ({ latent }) => latent,
      cell: ({ hook, latent }) => latentLink(hook, latent),
      numeric: true,
    },
    {
      label: "Hook",
      value: ({ hook }) => hook,
      cell: ({ hook }) => `<span class="where">${escapeText(hookNames[hook]!)}</span>`,
    },
  ];
  if (has(({ masked }) => masked))
    columns.push(
      number(
        "Ablation,\nmasked",
        "Total effect of zeroing it, counted as published: only where the answer stays right",
        ({ masked }) => masked,
      ),
      number(
        "Ablation,\nall",
        "Total effect of zeroing it, answers that turn wrong included",
        ({ unmasked }) => unmasked,
      ),
    );
  if (has(({ gradient }) => gradient))
    columns.push(number("Gradient", "Total of activation times gradient", ({ gradient }) => gradient));
  columns.push(
    {
      label: `Mean effect,\n${Math.round((leading?.level ?? 0.95) * 100)} % interval`,
      about: "Over the examples that count; the interval is a bootstrap over them",
      numeric: false,
      value: ({ mean }) => mean,
      cell: (each) => range(each, axis),
    },
    number("Mean where\nactive", "Mean effect over the examples in which it is active", ({ meanActive }) => meanActive),
    number("SD", "Standard deviation of the effect over examples", ({ sd }) => sd, short),
    number("Active in", "Examples in which it is active", ({ active }) => active, String),
    number("Share", "Share of the examples that count", ({ proportion }) => proportion, percent),
    number(
      "Mean\nactivation",
      "Over the examples that count, zeros included",
      ({ meanActivation }) => meanActivation,
      short,
    ),
  );
  const rows = [...latents].sort((a, b) => Math.abs(effect(b)) - Math.abs(effect(a)));
  return grid({
    caption: "Effects of the latents, strongest first",
    rows,
    columns,
    search: ({ hook, latent }) => `#${latent} ${data.hooks[hook]!.name}`,
    searchLabel: "Filter latents by number or hook",
  }).element;
}

/** Stems per hook and the table of all latents. */
export function effects(model: Model): HTMLElement {
  const { data } = model;
  const { leading } = data;
  const of = leading === null ? "" : `Over the ${leading.examples} examples that are right. `;
  const root = section(
    "latents",
    "Latent effects",
    "What carries the answer",
    `${of}An effect is how much logit difference is lost when the latent is set to 0. Masked effects count, as published, only where the answer stays right without the latent.`,
  );
  const figures = element('<div class="two"></div>');
  data.hooks.forEach(({ name, width }, hook) => {
    const own = model.latents.filter((each) => each.hook === hook && effect(each) !== 0);
    if (own.length === 0) return;
    figures.append(
      plot({
        title: `Total effects at ${name}`,
        about: `${own.length} of ${width} latents have an effect; answers that turn wrong are included.`,
        mark: "stem",
        ratio: 0.5,
        x: { label: "Latent", domain: [-0.01 * width, 1.01 * width] },
        y: { label: "Total effect" },
        points: own.map((each) => ({
          x: each.latent,
          y: effect(each),
          tone: effect(each) > 0 ? "up" : "down",
          opens: `#latent/${hook}/${each.latent}`,
          text: () => `#${each.latent}: total effect ${signed(effect(each))}\nactive in ${each.active} examples`,
        })),
      }),
    );
  });
  root.append(figures, table(model));
  return root;
}

/** Ablation against gradient; undefined without both. */
export function agreement(model: Model): HTMLElement | undefined {
  const { data, hookNames } = model;
  if (data.agreement.length === 0) return undefined;
  const root = section(
    "agreement",
    "Agreement",
    "Do ablation and gradient agree?",
    "The gradient is a linear estimate of what ablation measures. Latents that have an effect in neither are left out.",
  );
  const figures = element('<div class="two"></div>');
  data.agreement.forEach(({ hook }) => {
    const own = model.latents.filter(
      (each) => each.hook === hook && ((each.unmasked ?? 0) !== 0 || (each.gradient ?? 0) !== 0),
    );
    figures.append(
      plot({
        title: `Gradient against ablation at ${data.hooks[hook]!.name}`,
        about: "A point is a latent; on the dashed line both give the same total effect.",
        mark: "dot",
        diagonal: true,
        x: { label: "Ablation, all effects" },
        y: { label: "Gradient" },
        points: own.map((each) => ({
          x: each.unmasked ?? 0,
          y: each.gradient ?? 0,
          tone: (each.unmasked ?? 0) * (each.gradient ?? 0) < 0 ? "down" : "up",
          opens: `#latent/${hook}/${each.latent}`,
          text: () => `#${each.latent}: ablation ${signed(each.unmasked ?? 0)}, gradient ${signed(each.gradient ?? 0)}`,
        })),
        legend: [
          ["up", "same sign"],
          ["down", "opposite sign"],
        ],
      }),
    );
  });
  const correlation = (value: number | null): string => (value === null ? "" : value.toFixed(3).replace("-", "−"));
  const summary = grid({
    caption: "Agreement of ablation and gradient",
    rows: data.agreement,
    columns: [
      { label: "Hook", value: ({ hook }) => hook, cell: ({ hook }) => escapeText(hookNames[hook]!) },
      { label: "Latents", numeric: true, value: ({ latents }) => latents },
      { label: "Pearson", numeric: true, value: ({ pearson }) => pearson, cell: ({ pearson }) => correlation(pearson) },
      {
        label: "Spearman (ranks)",
        numeric: true,
        value: ({ spearman }) => spearman,
        cell: ({ spearman }) => correlation(spearman),
      },
      { label: "Same sign", numeric: true, value: ({ sameSign }) => sameSign },
    ],
  }).element;
  root.append(figures, summary);
  return root;
}

/** Gives a card's links their targets. */
function linked(model: Model, card: HTMLElement): HTMLElement {
  const hooks = model.data.hooks.map(({ name }) => name);
  card.querySelectorAll<HTMLElement>("a[data-latent]").forEach((link) => {
    const hook = hooks.indexOf(link.dataset["hook"] ?? "");
    link.setAttribute("href", `#latent/${hook}/${link.dataset["latent"]}`);
  });
  card.querySelectorAll<HTMLElement>("a[data-example]").forEach((link) => {
    if (model.placeOf(Number(link.dataset["example"])) >= 0)
      link.setAttribute("href", `#example/${link.dataset["example"]}`);
  });
  return card;
}

/** The card of a latent, with what it does to the task above it. */
export function card(model: Model, hook: number, latent: number, level: number): HTMLElement {
  const metrics = model.latent(hook, latent);
  const data = model.dashboard(hook, latent);
  const made = linked(model, element(cardHtml(data, level)));
  if (metrics !== undefined) {
    const facts = [
      metrics.masked === null
        ? ""
        : `ablation <b>${signed(metrics.unmasked ?? 0)}</b> (masked ${signed(metrics.masked)})`,
      metrics.gradient === null ? "" : `gradient <b>${signed(metrics.gradient)}</b>`,
      `active in <b>${metrics.active}</b> examples`,
    ];
    made
      .querySelector("header")!
      .append(element(`<p>Total effect on the task: ${facts.filter(Boolean).join(" · ")}</p>`));
  }
  return made;
}

/** A card in the sheet; neighbours are the latents of the same hook by effect. */
export function latentSheet(model: Model, hook: number, latent: number): SheetContent | undefined {
  const { data } = model;
  const place = data.hooks[hook];
  if (place === undefined || !(latent >= 0 && latent < place.width)) return undefined;
  const order = model.latents.filter((each) => each.hook === hook).sort((a, b) => effect(b) - effect(a));
  const at = order.findIndex((each) => each.latent === latent);
  const link = (i: number): string | undefined =>
    at >= 0 && order[i] ? `#latent/${hook}/${order[i].latent}` : undefined;
  return {
    name: at < 0 ? "Latent" : `Latent, ${at + 1} of ${order.length} by effect`,
    body: card(model, hook, latent, 2),
    previous: link(at - 1),
    next: link(at + 1),
  };
}

/** Latents with dashboards: a line each, the card when it is opened. */
export function cards(model: Model): HTMLElement {
  const { data, hookNames } = model;
  const { dashboards } = data;
  const root = section(
    "cards",
    "Latent cards",
    "Latent cards",
    dashboards.length > 0
      ? `What the strongest latents respond to and write, computed from ${escapeText(data.dashboardSource ?? "data")}. Every latent of the tables opens its card as well.`
      : "Cards with examples, histograms and tokens need the model and its SAEs: give --model and --saes to the report. Links to latents show what is known from the task.",
  );
  for (const each of dashboards) {
    const hook = data.hooks.findIndex(({ name }) => name === each.hook);
    const metrics = model.latent(hook, each.latent);
    const gist =
      each.logits?.promoted
        .slice(0, 5)
        .map(({ token }) => token.trim())
        .join(", ") ?? "";
    const details = element(
      `<details class="latent"><summary><b>#${each.latent}</b> <span class="where">${escapeText(hookNames[hook] ?? each.hook)}</span>` +
        `<span>${metrics ? tinted(effect(metrics)) : ""}</span><span class="gist">${gist === "" ? `active at ${percent(each.activity.density)}` : `promotes ${escapeText(gist)}`}</span></summary></details>`,
    );
    details.addEventListener(
      "toggle",
      () => {
        if (details.childElementCount === 1) details.append(card(model, hook, each.latent, 3));
      },
      { once: true },
    );
    root.append(details);
  }
  return root;
}
