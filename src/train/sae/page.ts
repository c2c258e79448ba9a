/** @file The curves of a training as one HTML page, written again and again while it runs. */
import { escapeHtml, Figure, Section, type Hue, type SectionItem } from "../../display/index.ts";
import { writeFileAtomic } from "../../formats/index.ts";
import type { SaeMetrics } from "./trainer.ts";

/** What one SAE logged: metrics by step. */
export interface SaeHistory {
  readonly name: string;
  readonly points: readonly { readonly step: number; readonly metrics: SaeMetrics }[];
  /** log10 of how often each latent fires, [d_sae]. */
  readonly sparsity?: Float32Array;
}

interface Curve {
  readonly title: string;
  readonly metrics: readonly string[];
  readonly scale?: "log";
}

const curves: readonly Curve[] = [
  { title: "Losses", metrics: ["losses/"], scale: "log" },
  { title: "Explained variance", metrics: ["metrics/explained_variance", "eval/explained_variance"] },
  { title: "Active latents per token (L0)", metrics: ["metrics/l0", "eval/l0"] },
  { title: "Dead latents", metrics: ["sparsity/dead_features"] },
  { title: "CE score: loss recovered with the SAE in place", metrics: ["eval/ce_score"] },
  { title: "Learning rate", metrics: ["details/current_learning_rate"] },
];

/** At most this many points of a curve are drawn. */
const drawn = 400;

/** The colours of a figure's series, in turn. All but the first are dashed: equal curves are both seen. */
const colours: readonly Hue[] = ["accent", "negative", "positive", "muted"];

function figureOf({ points }: SaeHistory, { title, metrics, scale }: Curve): Figure | undefined {
  const names = [...new Set(points.flatMap((p) => Object.keys(p.metrics)))].filter((name) =>
    metrics.some((wanted) => (wanted.endsWith("/") ? name.startsWith(wanted) : name === wanted)),
  );
  const series = names.flatMap((name, index) => {
    const own = points.filter((p) => {
      const value = p.metrics[name];
      return value !== undefined && (scale !== "log" || value > 0);
    });
    if (own.length === 0) return [];
    const every = Math.ceil(own.length / drawn);
    const kept = own.filter((_, i) => i % every === 0 || i === own.length - 1);
    const [group, label] = name.split("/", 2) as [string, string];
    const x = kept.map((p) => p.step);
    return [
      {
        mark: own.length === 1 ? ("dot" as const) : ("line" as const),
        name: group === "eval" ? `${label}, evaluated` : label,
        hue: colours[index % colours.length]!,
        dashed: index > 0,
        x,
        y: kept.map((p) => p.metrics[name]!),
      },
    ];
  });
  if (series.length === 0) return undefined;
  return new Figure({ title, x: { label: "Step" }, y: { scale: scale ?? "linear" }, series, width: 560, height: 300 });
}

/** How many latents fire how often. */
function densityFigure(sparsity: Float32Array): Figure {
  const counts = Array.from({ length: 40 }, () => 0);
  sparsity.forEach((log) => counts[Math.min(39, Math.max(0, Math.floor((log + 10) * 4)))]!++);
  const x = counts.map((_, i) => -10 + i / 4);
  const series = [{ mark: "bar" as const, x, x2: x.map((low) => low + 0.25), y: counts, hue: "accent" as const }];
  return new Figure({
    title: "Feature density",
    x: { label: "log10 of the share of tokens" },
    y: { label: "Latents" },
    series,
    width: 560,
    height: 300,
  });
}

/** The curves of each SAE, below each other. */
function curvesOf(histories: readonly SaeHistory[]): Section {
  return new Section(
    histories.map((history): SectionItem => {
      const figures = curves.flatMap((curve) => figureOf(history, curve) ?? []);
      const density = history.sparsity === undefined ? [] : [densityFigure(history.sparsity)];
      return new Section([...figures, ...density], { title: history.name });
    }),
  );
}

/**
 * Writes the page of the curves; while the training runs, an open page renews itself.
 * @param status such as `step 40 of 100`
 */
export async function writeCurves(
  file: string,
  histories: readonly SaeHistory[],
  { title, status, running }: { title: string; status: string; running: boolean },
): Promise<void> {
  const body = await curvesOf(histories).toHTML();
  const html = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
${running ? '<meta http-equiv="refresh" content="10">\n' : ""}<title>${escapeHtml(title)}</title>
<style>
body { margin: 2rem auto; max-width: 74rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; color-scheme: light dark; }
h1 { font-size: 1.5rem; margin: 0 } .status { opacity: 0.7; margin: 0.25rem 0 1.5rem }
.it-section .it-section { display: flex; flex-wrap: wrap; gap: 1rem } .it-section .it-section > h3 { width: 100%; margin: 1rem 0 0 }
</style></head>
<body><h1>${escapeHtml(title)}</h1><p class="status">${escapeHtml(status)}</p>${body}</body></html>
`;
  await writeFileAtomic(file, html);
}
