/** @file Every example: a table, and one after the other what is active in it. */
import { escapeText, short, signed, visible } from "../../analysis/dashboards/card.ts";
import type { Outcome, ReportExample } from "../data.ts";
import { outcomeNames } from "./answers.ts";
import { element, exampleLink, latentLink, section, tinted } from "./html.ts";
import type { Model } from "./model.ts";
import type { SheetContent } from "./sheet.ts";
import { grid, type GridColumn } from "./table.ts";

const tag = (outcome: Outcome | null): string =>
  outcome === null ? "" : `<span class="tag ${outcome}">${outcomeNames[outcome]}</span>`;

/** The base-vs-SAE table over all examples, with buttons for outcomes. */
export function examples(model: Model): HTMLElement {
  const { data } = model;
  const root = section(
    "examples",
    "Examples",
    "Examples",
    "Both logit differences of every example. Its number opens the example: its text, and the latents that are active at the answer.",
  );
  const columns: GridColumn<ReportExample>[] = [
    { label: "Example", numeric: true, value: ({ id }) => id, cell: ({ id }) => exampleLink(id) },
    { label: "Prompt", value: ({ text }) => text, cell: ({ text }) => `<span>${escapeText(text)}</span>`, clip: true },
    { label: "Right answer", value: ({ answer }) => answer },
  ];
  if (data.examples.some(({ base }) => base !== null))
    columns.push({
      label: "Plain",
      numeric: true,
      value: ({ base }) => base?.diff ?? null,
      cell: ({ base }) => tinted(base?.diff ?? null),
    });
  if (data.examples.some(({ sae }) => sae !== null))
    columns.push({
      label: "With SAEs",
      numeric: true,
      value: ({ sae }) => sae?.diff ?? null,
      cell: ({ sae }) => tinted(sae?.diff ?? null),
    });
  if (data.outcomes.length > 0)
    columns.push(
      {
        label: "Change",
        numeric: true,
        value: ({ base, sae }) => (base && sae ? sae.diff - base.diff : null),
        cell: ({ base, sae }) => (base && sae ? tinted(sae.diff - base.diff) : ""),
      },
      { label: "Outcome", value: ({ outcome }) => outcome, cell: ({ outcome }) => tag(outcome) },
    );
  const table = grid({
    caption: "Logit differences without and with SAEs",
    rows: data.examples,
    columns,
    search: ({ id, text, answer, outcome }) => `${id} ${text} ${answer} ${outcome ?? ""}`,
    searchLabel: "Filter examples by text",
  });
  if (data.outcomes.length > 0) {
    const buttons = data.outcomes.map(
      ({ outcome, count }) =>
        `<button type="button" aria-pressed="false" data-outcome="${outcome}">${outcomeNames[outcome]} (${count})</button>`,
    );
    const bar = element(
      `<div class="seg" role="group" aria-label="Show only examples with one outcome">${buttons.join("")}</div>`,
    );
    bar.addEventListener("click", (event) => {
      const pressed = (event.target as Element).closest<HTMLElement>("button");
      if (pressed === null) return;
      const on = pressed.getAttribute("aria-pressed") !== "true";
      bar
        .querySelectorAll("button")
        .forEach((button) => button.setAttribute("aria-pressed", String(on && button === pressed)));
      table.restrict(({ outcome }) => !on || outcome === pressed.dataset["outcome"]);
    });
    root.append(bar);
  }
  root.append(table.element);
  return root;
}

function activeTable(model: Model, place: number): HTMLElement {
  const size = (value: { ablation: number | null; gradient: number | null }): number =>
    Math.abs(value.ablation ?? value.gradient ?? 0);
  const rows = model.activeIn(place).sort((a, b) => size(b) - size(a) || b.activation - a.activation);
  type Row = (typeof rows)[number];
  const columns: GridColumn<Row>[] = [
    {
      label: "Latent",
      numeric: true,
      value: ({ latent }) => latent,
      cell: ({ hook, latent }) => latentLink(hook, latent),
    },
    {
      label: "Hook",
      value: ({ hook }) => hook,
      cell: ({ hook }) => `<span class="where">${escapeText(model.hookNames[hook]!)}</span>`,
    },
    {
      label: "Activation",
      numeric: true,
      value: ({ activation }) => activation,
      cell: ({ activation }) => short(activation),
    },
  ];
  const add = (label: string, value: (row: Row) => number | null): void => {
    if (rows.some((row) => value(row) !== null))
      columns.push({ label, numeric: true, value, cell: (row) => tinted(value(row)) });
  };
  add("Ablation", ({ ablation }) => ablation);
  add("Diff without it", ({ ablatedDiff }) => ablatedDiff);
  add("Gradient", ({ gradient }) => gradient);
  return grid({
    caption: "Latents active at the answer, strongest effect first",
    rows,
    columns,
    page: 20,
    search: ({ hook, latent }) => `#${latent} ${model.data.hooks[hook]!.name}`,
    searchLabel: "Filter the example's latents",
  }).element;
}

/** One example in the sheet. */
export function exampleSheet(model: Model, id: number): SheetContent | undefined {
  const place = model.placeOf(id);
  const example = model.data.examples[place];
  if (example === undefined) return undefined;
  const { text, tokens, answer, base, sae, outcome } = example;
  const side = (name: string, value: ReportExample["base"]): string =>
    value === null
      ? ""
      : `<dt>${name}</dt><dd>${signed(value.diff)}, answers ${escapeText(value.answer)}, loss ${short(value.loss)}</dd>`;
  const prompt = tokens
    ? tokens.map((token) => `<span class="tok">${escapeText(visible(token))}</span>`).join("")
    : escapeText(text);
  const body = element(
    `<div><h2>Example ${id}</h2><p class="prompt">${prompt}</p><dl class="pairs"><dt>Right answer</dt><dd>${escapeText(answer)}</dd>` +
      `${side("Plain model", base)}${side("With SAEs", sae)}${outcome === null ? "" : `<dt>Outcome</dt><dd>${tag(outcome)}</dd>`}` +
      `${tokens ? `<dt>Tokens</dt><dd>${tokens.length}</dd>` : ""}</dl></div>`,
  );
  body.append(activeTable(model, place));
  const link = (i: number): string | undefined => {
    const other = model.data.examples[i];
    return other && `#example/${other.id}`;
  };
  return {
    name: `Example ${place + 1} of ${model.data.examples.length}`,
    body,
    previous: link(place - 1),
    next: link(place + 1),
  };
}
