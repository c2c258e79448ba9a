/** @file Small pieces of HTML. All text of strangers goes through `escapeText`. */
import { escapeText, signed } from "../../analysis/dashboards/card.ts";

/** The one element of a text of HTML. */
export function element(html: string): HTMLElement {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content.firstElementChild as HTMLElement;
}

/** A link that opens a latent's card. */
export const latentLink = (hook: number, latent: number): string =>
  `<a href="#latent/${hook}/${latent}">#${latent}</a>`;

/** A link that opens an example. */
export const exampleLink = (id: number, text: string = String(id)): string =>
  `<a href="#example/${id}">${escapeText(text)}</a>`;

/** A signed number in the colour of its side. */
export const tinted = (value: number | null): string =>
  value === null ? "" : `<span class="${value > 0 ? "up" : value < 0 ? "down" : ""}">${signed(value)}</span>`;

/** A section: its name in the contents, its heading, and what it says in a sentence or two. */
export function section(id: string, name: string, title: string, lead: string): HTMLElement {
  const text = lead === "" ? "" : `<p class="lead">${lead}</p>`;
  return element(
    `<section id="${id}" data-name="${name}" aria-labelledby="${id}-title"><h2 id="${id}-title" tabindex="-1">${title}</h2>${text}</section>`,
  );
}
