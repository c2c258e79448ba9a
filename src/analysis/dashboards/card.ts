/** @file A dashboard as HTML. It runs in the report page as well as here, so it imports nothing. */
import type { DashboardData, ExampleEffect, ExampleGroup, Histogram, TokenExample, TokenWeight } from "./types.ts";

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text of strangers as HTML, in an element or a quoted attribute. */
export function escapeText(text: string): string {
  const allowed = text.replace(
    /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g,
    "\ufffd",
  );
  return allowed.replace(/[&<>"']/g, (character) => entities[character]!);
}

/** Three significant digits; signs as people write them. */
export function short(value: number): string {
  const size = Math.abs(value);
  const text = (): string => {
    if (Number.isInteger(value) && size < 1e6) return String(value);
    if (size >= 1e6 || size < 1e-4) return value.toExponential(1);
    return size >= 1000 ? value.toFixed(0) : value.toPrecision(3);
  };
  return text().replace("-", "−");
}

/** With its sign, always. */
export const signed = (value: number): string => (value > 0 ? `+${short(value)}` : short(value));

/** A share between 0 and 1. */
export const percent = (share: number): string => `${short(100 * share)} %`;

/** Spaces and line ends that a reader must see. */
export const visible = (token: string): string => token.replaceAll("\n", "↵").replaceAll("\t", "⇥");

/** Shades of a token's background, beside none. */
export const shades = 9;

/** Tokens with a background by activation; the strongest one is marked. */
export function heat(example: TokenExample, max: number): string {
  return example.tokens
    .map((token, i) => {
      const value = example.activations[i]!;
      const text = escapeText(visible(token));
      if (!(value > 0)) return `<span>${text}</span>`;
      const shade = Math.max(1, Math.min(shades, Math.ceil((shades * value) / max)));
      const tag = example.start + i === example.position ? "mark" : "span";
      // A space before a word stays outside, so that lines break there.
      const space = /^ (?=.)/.test(text) ? " " : "";
      return `${space}<${tag} class="it-heat-${shade}" title="${short(value)}">${text.slice(space.length)}</${tag}>`;
    })
    .join("");
}

/** Bars over a common axis; `signed` colours them by the side of 0 they stand on. */
export function histogramSvg(histogram: Histogram, label: string): string {
  const { edges, counts } = histogram;
  const [width, height, foot] = [320, 72, 14];
  if (counts.length === 0) return `<p class="it-none">never active</p>`;
  const [low, high] = [edges[0]!, edges.at(-1)!];
  const most = Math.max(...counts);
  const x = (value: number): number => (high > low ? ((value - low) / (high - low)) * width : 0);
  const bars = counts.map((count, i) => {
    const tall = count === 0 ? 0 : Math.max(1, (count / most) * height);
    const [from, to] = [x(edges[i]!), counts.length === 1 ? width : x(edges[i + 1]!)];
    const side = edges[i]! < 0 && edges[i + 1]! <= 0 ? "it-below" : "it-above";
    const title = `${short(edges[i]!)} to ${short(edges[i + 1]!)}: ${count}`;
    return `<rect class="${side}" x="${from.toFixed(1)}" y="${(height - tall).toFixed(1)}" width="${Math.max(0.5, to - from - 0.6).toFixed(1)}" height="${tall.toFixed(1)}"><title>${title}</title></rect>`;
  });
  const ticks = low < 0 && high > 0 ? [low, 0, high] : [low, high];
  const texts = ticks.map((tick, i) => {
    const anchor = i === 0 ? "start" : i === ticks.length - 1 ? "end" : "middle";
    return `<text x="${x(tick).toFixed(1)}" y="${height + foot - 2}" text-anchor="${anchor}">${short(tick)}</text>`;
  });
  return (
    `<svg class="it-histogram" role="img" aria-label="${escapeText(label)}" viewBox="0 0 ${width} ${height + foot}">` +
    `<line x1="0" x2="${width}" y1="${height}" y2="${height}"/>${bars.join("")}${texts.join("")}</svg>`
  );
}

function tokenList(title: string, weights: readonly TokenWeight[]): string {
  const items = weights.map(
    ({ token, id, weight }) =>
      `<li><code title="${escapeText(token)}, token ${id}">${escapeText(visible(token))}</code> <span>${signed(weight)}</span></li>`,
  );
  return `<div><h5>${title}</h5><ol class="it-tokens">${items.join("")}</ol></div>`;
}

function group(data: DashboardData, { kind, from, to, share, examples }: ExampleGroup): string {
  if (examples.length === 0) return "";
  const title =
    kind === "top" ? "Largest activations" : `${short(from)} to ${short(to)}, ${percent(share)} of its active tokens`;
  const items = examples.map(
    (example) =>
      `<li><span class="it-value" title="row ${example.row}, position ${example.position}">${short(example.activation)}</span>` +
      `<span class="it-text">${heat(example, data.activity.max)}</span></li>`,
  );
  const list = `<ol class="it-examples">${items.join("")}</ol>`;
  return kind === "top" ? `<h4>${title}</h4>${list}` : `<details><summary>${title}</summary>${list}</details>`;
}

function effects(rows: readonly ExampleEffect[]): string {
  if (rows.length === 0) return "";
  const cell = (value: number | null): string => (value === null ? "<td></td>" : `<td>${signed(value)}</td>`);
  const body = rows.map(
    (row) =>
      `<tr><th scope="row"><a data-example="${row.example}">${row.example}</a></th><td>${short(row.activation)}</td>` +
      `${cell(row.ablation)}${cell(row.gradient)}${cell(row.logit_diff)}${cell(row.ablated_logit_diff)}</tr>`,
  );
  const heads = ["Example", "Activation", "Ablation effect", "Gradient effect", "Logit diff", "Without it"];
  const shown = 12;
  const table = (part: readonly string[], title: string): string =>
    `<div class="it-scroll" tabindex="0" role="region" aria-label="${title}"><table class="it-effects"><caption>${title}</caption><thead><tr>${heads.map((head) => `<th scope="col">${head}</th>`).join("")}</tr></thead><tbody>${part.join("")}</tbody></table></div>`;
  const more =
    body.length > shown
      ? `<details><summary>${body.length - shown} more</summary>${table(body.slice(shown), "The other examples")}</details>`
      : "";
  return `<h4>Effect on the task</h4>${table(body.slice(0, shown), `Active at the answer in ${rows.length} examples, largest effect first`)}${more}`;
}

/** Links between latents and to examples are `a[data-latent]` and `a[data-example]`, without a target of their own. */
export function cardHtml(data: DashboardData, level = 3): string {
  const { activity, logits, neighbours, correlated, neuronpedia } = data;
  const link = (hook: string, latent: number): string =>
    `<a data-hook="${escapeText(hook)}" data-latent="${latent}">#${latent}</a>`;
  const near = neighbours.map(
    ({ latent, cosine }) => `<li>${link(data.hook, latent)} <span>${short(cosine)}</span></li>`,
  );
  const along = correlated.map(
    ({ hook, latent, correlation }) =>
      `<li>${link(hook, latent)} ${hook === data.hook ? "" : `<small title="${escapeText(hook)}">${escapeText(hook)}</small> `}<span>${short(correlation)}</span></li>`,
  );
  const list = (title: string, items: readonly string[]): string =>
    items.length === 0 ? "" : `<div><h5>${title}</h5><ol class="it-tokens">${items.join("")}</ol></div>`;
  const facts =
    activity.tokens === 0
      ? []
      : [
          `active at <b>${percent(activity.density)}</b> of ${activity.tokens} tokens`,
          `in <b>${activity.rows_active}</b> of ${activity.rows} rows`,
          `largest <b>${short(activity.max)}</b>`,
          `mean <b>${short(activity.mean)}</b> where active`,
        ];
  const page =
    neuronpedia === null
      ? ""
      : `<a class="it-out" href="${escapeText(neuronpedia.page)}" rel="noreferrer noopener" target="_blank">Neuronpedia ↗</a>`;
  return (
    `<article class="it-card"><header><h${level}>#${data.latent} <small>${escapeText(data.hook)}</small></h${level}>` +
    `<p>${facts.join(" · ")}${page === "" ? "" : ` ${page}`}</p></header>` +
    `<div class="it-columns"><section>` +
    (activity.tokens === 0
      ? ""
      : `<h4>Activations</h4>${histogramSvg(data.histogram, `Histogram of the latent's ${activity.active} activations above 0, up to ${short(activity.max)}`)}`) +
    (logits === null
      ? activity.tokens === 0
        ? `<p class="it-none">What it responds to and writes was not computed: that needs the model and its SAEs.</p>`
        : `<p class="it-none">Its hook point does not write to the residual stream: no logit weights.</p>`
      : `<h4>Logit weights</h4>${histogramSvg(logits.histogram, "Histogram of the latent's logit weights over the vocabulary")}` +
        `<div class="it-pair">${tokenList("Promotes", logits.promoted)}${tokenList("Suppresses", logits.suppressed)}</div>` +
        `<p class="it-none">${escapeText(logits.through)}</p>`) +
    `<div class="it-pair">${list("Decoder neighbours", near)}${list("Active together", along)}</div>` +
    `</section><section>${data.groups.map((each) => group(data, each)).join("")}${effects(data.effects)}</section></div></article>`
  );
}

const line = "1px solid color-mix(in srgb,currentColor 18%,transparent)";
const sheet = [
  ".it-card{font:14px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif;container-type:inline-size}",
  ".it-card h3,.it-card h2{margin:0;font-size:1.25em}",
  ".it-card h4{margin:1.1em 0 .35em;font-size:1em}",
  ".it-card h5{margin:.6em 0 .2em;font-size:.85em;font-weight:600;opacity:.8}",
  ".it-card small{font-weight:400;font-size:.75em;opacity:.8}",
  ".it-card header p{margin:.2em 0 0}",
  ".it-card .it-out{white-space:nowrap;margin-left:.8em}",
  ".it-columns{display:grid;grid-template-columns:minmax(0,1fr);gap:0 2em}",
  "@container (min-width:720px){.it-columns{grid-template-columns:minmax(0,2fr) minmax(0,3fr)}}",
  ".it-pair{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:1em}",
  ".it-none{font-size:.85em;opacity:.75;margin:.4em 0}",
  ".it-histogram{width:100%;height:auto;display:block;overflow:visible}",
  ".it-histogram line{stroke:currentColor;stroke-opacity:.4}",
  ".it-histogram text{font-size:10px;fill:currentColor;opacity:.8}",
  ".it-histogram .it-above{fill:var(--it-positive,#2b7bba)}",
  ".it-histogram .it-below{fill:var(--it-negative,#d55e00)}",
  ".it-tokens{list-style:none;margin:0;padding:0;font-variant-numeric:tabular-nums;font-size:.92em}",
  ".it-tokens li{display:flex;justify-content:space-between;gap:.6em;padding:.08em 0}",
  ".it-tokens code{white-space:pre;overflow:hidden;text-overflow:ellipsis;font-family:ui-monospace,Menlo,Consolas,monospace}",
  ".it-tokens small{flex:1;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}",
  ".it-examples{list-style:none;margin:.2em 0;padding:0}",
  `.it-examples li{display:grid;grid-template-columns:3.6em minmax(0,1fr);gap:.6em;padding:.28em 0;border-bottom:${line}}`,
  ".it-examples .it-value{text-align:right;font-variant-numeric:tabular-nums}",
  ".it-examples .it-text{white-space:pre-wrap;overflow-wrap:anywhere}",
  ".it-card mark{color:inherit;border-radius:2px;box-shadow:0 0 0 1.5px currentColor}",
  ".it-card summary{cursor:pointer;padding:.25em 0}",
  ".it-card .it-scroll{overflow-x:auto;margin:0}",
  ".it-effects{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%;font-size:.92em}",
  ".it-effects caption{text-align:left;font-size:.92em;opacity:.8;padding-bottom:.3em}",
  `.it-effects :is(th,td){text-align:right;padding:.18em .5em;border-bottom:${line};font-weight:400}`,
  ".it-effects thead th{font-weight:600}",
];
const shadeRules = Array.from(
  { length: shades },
  (_, i) =>
    `.it-card .it-heat-${i + 1},.it-heat-${i + 1}{background:color-mix(in srgb,var(--it-heat,#e8940a) ${Math.round((70 * (i + 1)) / shades)}%,transparent)}`,
);

/** The rules of cards. Colours are the variables of all displays, and `--it-heat` for activations. */
export const cardStyle: string = [...sheet, ...shadeRules].join("\n");
