/** @file The report page: reads its document, draws the sections, opens what links say. */
import type { ReportData } from "../data.ts";
import { escapeText } from "../../analysis/dashboards/card.ts";
import { answers, overview, plain } from "./answers.ts";
import { exampleSheet, examples } from "./examples.ts";
import { element, section } from "./html.ts";
import { agreement, cards, effects, latentSheet } from "./latents.ts";
import { readModel, type Model } from "./model.ts";
import { sheet } from "./sheet.ts";

function timing({ data }: Model): HTMLElement | undefined {
  if (data.timing === null || data.timing.rows.length === 0) return undefined;
  const root = section("timing", "Timing", "What it took", "");
  root.append(plain(data.timing));
  return root;
}

function provenance({ data }: Model): HTMLElement | undefined {
  if (data.provenance.length === 0) return undefined;
  const root = section("provenance", "Provenance", "Where the numbers come from", "");
  for (const { title, entries } of data.provenance) {
    const items = entries.map(([key, value]) => `<dt>${escapeText(key)}</dt><dd>${shown(key, value)}</dd>`).join("");
    root.append(element(`<h3>${escapeText(title)}</h3>`), element(`<dl class="pairs">${items}</dl>`));
  }
  return root;
}

/** A value; one of many lines folded. */
function shown(key: string, value: string): string {
  const lines = value.split("\n").length;
  if (lines === 1) return escapeText(value);
  return `<details><summary>${escapeText(key)}, ${lines} lines</summary><pre>${escapeText(value)}</pre></details>`;
}

/** The button names the theme that it changes to. */
function themes(button: HTMLButtonElement): void {
  const { documentElement: page } = document;
  const dark = (): boolean =>
    page.dataset["theme"] === undefined
      ? matchMedia("(prefers-color-scheme: dark)").matches
      : page.dataset["theme"] === "dark";
  const name = (): void => {
    button.textContent = dark() ? "Light theme" : "Dark theme";
  };
  button.addEventListener("click", () => {
    page.dataset["theme"] = dark() ? "light" : "dark";
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();
}

/** Links to the sections; the one in view is marked. */
function contents(nav: HTMLElement, sections: readonly HTMLElement[]): void {
  const items = sections.map(({ id, dataset }) => `<li><a href="#${id}">${dataset["name"]}</a></li>`);
  nav.append(element(`<ul>${items.join("")}</ul>`));
  const links = new Map([...nav.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const seen = new Set<string>();
  const mark = (): void => {
    const first = sections.find(({ id }) => seen.has(id));
    for (const [id, link] of links)
      if (id === first?.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
  };
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries)
        if (isIntersecting) seen.add(target.id);
        else seen.delete(target.id);
      mark();
    },
    { rootMargin: "0px 0px -55% 0px" },
  );
  for (const each of sections) observer.observe(each);
}

const model = readModel(JSON.parse(document.getElementById("report")!.textContent) as ReportData);
const sections = [
  overview(model),
  answers(model),
  ...(model.latents.length > 0 ? [effects(model)] : []),
  agreement(model),
  ...(model.latents.length > 0 ? [cards(model)] : []),
  examples(model),
  timing(model),
  provenance(model),
].filter((each) => each !== undefined);
document.querySelector("main")!.replaceChildren(...sections);
contents(document.querySelector<HTMLElement>(".toc")!, sections);
themes(document.querySelector<HTMLButtonElement>(".theme")!);
sheet(document.querySelector("dialog")!, (hash) => {
  const [, kind, first, second] = /^#(latent|example)\/(\d+)(?:\/(\d+))?$/.exec(hash) ?? [];
  if (kind === "example") return exampleSheet(model, Number(first));
  return kind === "latent" && second !== undefined ? latentSheet(model, Number(first), Number(second)) : undefined;
});
