/** @file Plots of points that people hover over, walk through with the keyboard and open. */
import { escapeText } from "../../analysis/dashboards/card.ts";
import { element } from "./html.ts";
import { plotSvg, type Place, type PlotOptions } from "./plotSvg.ts";

/** A figure with its caption. It is drawn to the width it has, and again when that changes. */
export function plot(options: PlotOptions): HTMLElement {
  const { title, about, points, ratio = 0.62, legend = [] } = options;
  const items = legend.map(([tone, text]) => `<li><i class="${tone}"></i>${escapeText(text)}</li>`).join("");
  const root = element(
    `<figure class="figure"><figcaption>${escapeText(title)}</figcaption><p class="about">${escapeText(about)}</p>` +
      (items === "" ? "" : `<ul class="legend">${items}</ul>`) +
      `<div class="plot" tabindex="0" role="application" aria-roledescription="plot" aria-label="${escapeText(`${title}. ${about} ${points.length} points: arrow keys go from one to the next, Enter opens it.`)}"></div>` +
      `<span class="hidden" aria-live="polite"></span></figure>`,
  );
  const stage = root.querySelector<HTMLElement>(".plot")!;
  const live = root.querySelector<HTMLElement>("[aria-live]")!;
  let walk: readonly number[] | undefined;
  /** Points from left to right. */
  const order = (): readonly number[] =>
    (walk ??= points.map((_, i) => i).sort((a, b) => points[a]!.x - points[b]!.x || points[a]!.y - points[b]!.y));
  let places: readonly Place[] = [];
  let current = -1;

  const heightAt = (width: number): number => Math.round(Math.max(190, Math.min(460, width * ratio)));

  function draw(width: number): void {
    const drawing = plotSvg(options, width, heightAt(width));
    places = drawing.places;
    stage.innerHTML = `${drawing.svg}<div class="tip" hidden></div>`;
  }

  function point(at: number, aloud: boolean): void {
    current = at;
    const ring = stage.querySelector<SVGElement>(".ring");
    const tip = stage.querySelector<HTMLElement>(".tip");
    if (ring === null || tip === null) return;
    const place = places[at];
    stage.classList.toggle("live", at >= 0 && points[at]!.opens !== undefined);
    ring.setAttribute("visibility", place ? "visible" : "hidden");
    tip.hidden = place === undefined;
    if (place === undefined) return;
    ring.setAttribute("cx", String(place.x));
    ring.setAttribute("cy", String(place.y));
    tip.textContent = points[at]!.text();
    const wide = stage.clientWidth;
    const left = Math.max(0, Math.min(wide - tip.offsetWidth, place.x - tip.offsetWidth / 2));
    const above = place.y - tip.offsetHeight - 12;
    tip.style.left = `${left}px`;
    tip.style.top = `${above < -10 ? place.y + 14 : above}px`;
    if (aloud) live.textContent = points[at]!.text();
  }

  function nearest(event: PointerEvent): number {
    const box = stage.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    let [best, found] = [26 ** 2, -1];
    places.forEach(({ x, y }, i) => {
      const distance = (x - px) ** 2 + (y - py) ** 2;
      if (distance < best) [best, found] = [distance, i];
    });
    return found;
  }

  const open = (): void => {
    const { opens } = points[current] ?? {};
    if (opens !== undefined) location.hash = opens;
  };
  const steps: Readonly<Record<string, (at: number) => number>> = {
    ArrowRight: (at) => at + 1,
    ArrowUp: (at) => at + 1,
    ArrowLeft: (at) => at - 1,
    ArrowDown: (at) => at - 1,
    PageDown: (at) => at + 10,
    PageUp: (at) => at - 10,
    Home: () => 0,
    End: () => points.length - 1,
  };
  stage.addEventListener("pointermove", (event) => point(nearest(event), false));
  stage.addEventListener("pointerleave", () => point(-1, false));
  stage.addEventListener("click", open);
  stage.addEventListener("blur", () => point(-1, false));
  stage.addEventListener("keydown", (event) => {
    if (event.key === "Enter") return open();
    if (event.key === "Escape") return point(-1, false);
    const step = steps[event.key];
    if (step === undefined || points.length === 0) return;
    event.preventDefault();
    const at = current < 0 ? (event.key === "End" ? points.length - 1 : 0) : step(order().indexOf(current));
    point(order()[Math.max(0, Math.min(points.length - 1, at))]!, true);
  });
  let drawn = 0;
  let near = false;
  const redraw = (): void => {
    const width = Math.round(stage.clientWidth);
    if (!near || width === 0 || width === drawn) return;
    drawn = width;
    stage.style.height = "";
    draw(width);
    current = -1;
  };
  const come = (): void => {
    near = true;
    redraw();
  };
  stage.style.height = `${heightAt(600)}px`;
  new ResizeObserver(redraw).observe(stage);
  // Drawn when the reader comes near, or prints.
  new IntersectionObserver((entries) => entries.some(({ isIntersecting }) => isIntersecting) && come(), {
    rootMargin: "600px",
  }).observe(stage);
  addEventListener("beforeprint", come);
  return root;
}
