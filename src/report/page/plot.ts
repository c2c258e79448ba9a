/** @file Plots of points that people hover over, walk through with the keyboard and open. */
import { escapeText, short } from "../../analysis/dashboards/card.ts";
import { element } from "./html.ts";

export interface PlotPoint {
  readonly x: number;
  readonly y: number;
  /** What it says; lines are kept. */
  readonly text: () => string;
  /** Where it leads, `#latent/0/9464`. */
  readonly opens?: string;
  readonly tone: "up" | "down" | "plain" | "hollow";
}

export interface PlotOptions {
  readonly title: string;
  /** One sentence on what is seen: the description for who does not see it. */
  readonly about: string;
  /** `stem`: from 0 to y, over a line of latents. */
  readonly mark: "dot" | "stem";
  readonly x: { readonly label: string; readonly domain?: readonly [number, number] };
  readonly y: { readonly label: string };
  readonly points: readonly PlotPoint[];
  /** The line on which both are equal. */
  readonly diagonal?: boolean;
  /** Height by width. Default 0.62. */
  readonly ratio?: number;
  readonly legend?: readonly (readonly [tone: PlotPoint["tone"], text: string])[];
}

const tones: readonly PlotPoint["tone"][] = ["hollow", "plain", "up", "down"];

/** About `count` round numbers within an interval. */
function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough)!;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

function domain(values: readonly number[], withZero: boolean): [number, number] {
  let [low, high] = withZero ? [0, 0] : [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (!(high > low)) return [low === Infinity ? -1 : low - 1, high === -Infinity ? 1 : high + 1];
  const room = (high - low) * 0.05;
  return [low - (withZero && low === 0 ? 0 : room), high + (withZero && high === 0 ? 0 : room)];
}

/** A figure with its caption. It is drawn to the width it has, and again when that changes. */
export function plot(options: PlotOptions): HTMLElement {
  const { title, about, points, mark, ratio = 0.62, legend = [] } = options;
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
  const places: { x: number; y: number }[] = [];
  let current = -1;

  const heightAt = (width: number): number => Math.round(Math.max(190, Math.min(460, width * ratio)));

  function draw(width: number): void {
    const height = heightAt(width);
    const [left, right, top, bottom] = [58, 10, 10, 40];
    const xs =
      options.x.domain ??
      domain(
        points.map(({ x }) => x),
        mark === "dot",
      );
    const ys = domain(
      points.map(({ y }) => y),
      true,
    );
    const x = (value: number): number => left + ((value - xs[0]) / (xs[1] - xs[0])) * (width - left - right);
    const y = (value: number): number =>
      height - bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (height - top - bottom);
    const n = (value: number): string => value.toFixed(1);
    const parts: string[] = [];
    for (const tick of ticks(ys[0], ys[1], Math.max(3, Math.round(height / 70))))
      parts.push(
        `<line class="${Math.abs(tick) < 1e-12 ? "axis" : "gridline"}" x1="${left}" x2="${width - right}" y1="${n(y(tick))}" y2="${n(y(tick))}"/>` +
          `<text x="${left - 7}" y="${n(y(tick) + 4)}" text-anchor="end">${short(Number(tick.toPrecision(6)))}</text>`,
      );
    for (const tick of ticks(xs[0], xs[1], Math.max(3, Math.round(width / 110))))
      parts.push(
        (mark === "stem"
          ? ""
          : `<line class="${Math.abs(tick) < 1e-12 ? "axis" : "gridline"}" y1="${top}" y2="${height - bottom}" x1="${n(x(tick))}" x2="${n(x(tick))}"/>`) +
          `<text x="${n(x(tick))}" y="${height - bottom + 16}" text-anchor="middle">${mark === "stem" ? tick : short(Number(tick.toPrecision(6)))}</text>`,
      );
    parts.push(
      `<text x="${(left + width - right) / 2}" y="${height - 5}" text-anchor="middle">${escapeText(options.x.label)}</text>`,
      `<text transform="translate(12 ${(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeText(options.y.label)}</text>`,
    );
    if (options.diagonal) {
      const [low, high] = [Math.max(xs[0], ys[0]), Math.min(xs[1], ys[1])];
      if (high > low)
        parts.push(
          `<line class="diagonal" x1="${n(x(low))}" y1="${n(y(low))}" x2="${n(x(high))}" y2="${n(y(high))}"/>`,
        );
    }
    const radius = mark === "stem" ? 2.6 : points.length > 400 ? 2.6 : 3.6;
    // All points of a tone are one path: thousands of elements would be slow to open. A dot is a line of no length.
    for (const tone of tones) {
      const [stems, dots]: [string[], string[]] = [[], []];
      points.forEach((point, i) => {
        if (point.tone !== tone) return;
        const place = (places[i] = { x: x(point.x), y: y(point.y) });
        dots.push(`M${n(place.x)} ${n(place.y)}h0`);
        if (mark === "stem") stems.push(`M${n(place.x)} ${n(y(0))}V${n(place.y)}`);
      });
      if (stems.length > 0) parts.push(`<path class="stem ${tone}" d="${stems.join("")}"/>`);
      const path = (name: string, width: number): string =>
        `<path class="dots ${name}" stroke-width="${width}" d="${dots.join("")}"/>`;
      if (dots.length > 0) parts.push(path(tone, 2 * radius));
      if (dots.length > 0 && tone === "hollow") parts.push(path("inside", 2 * radius - 2.6));
    }
    parts.push(`<circle class="ring" r="${radius + 3.5}" visibility="hidden"/>`);
    stage.innerHTML = `<svg viewBox="0 0 ${width} ${height}" aria-hidden="true">${parts.join("")}</svg><div class="tip" hidden></div>`;
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
