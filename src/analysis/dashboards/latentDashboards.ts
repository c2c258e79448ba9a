/** @file Dashboards of latents from data: one forward pass per batch for all of them. */
import { z } from "zod";
import type { Tensor } from "../../graph/index.ts";
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { AnalysisError } from "../errors.ts";
import { Collector, type CollectorOptions, type Window } from "./collect.ts";
import { Dashboard, Dashboards } from "./dashboard.ts";
import { directionsOf, type Directions } from "./directions.ts";
import { effectsOfLatents, saeHook, type ResultsByName } from "./effects.ts";
import { narrowed, type Narrowed } from "./narrow.ts";
import { neuronpediaLinks } from "./neuronpedia.ts";
import type { DashboardData, ExampleGroup, LatentRef, TokenExample } from "./types.ts";

export interface LatentDashboardsOptions {
  readonly model: HookedModel;
  readonly saes: readonly LatentModel[];
  /** Which latents, in the order in which they are shown. */
  readonly latents: readonly LatentRef[];
  /** Texts, or rows of token ids. Default: the examples of `results`. */
  readonly data?: readonly string[] | readonly (readonly number[])[];
  /** Analyses of a task, for the effects on its examples. */
  readonly results?: ResultsByName;
  /** Examples with the largest activations, one per row of the data. Default 20. */
  readonly topExamples?: number;
  /** Intervals between 0 and the largest activation, each with examples from a uniform sample. Default 5. */
  readonly intervals?: number;
  /** Examples of an interval. Default 5. */
  readonly intervalExamples?: number;
  /** Tokens shown before and after an active one. Default [24, 8]. */
  readonly contextWindow?: readonly [before: number, after: number];
  /** Tokens promoted and suppressed. Default 10. */
  readonly topTokens?: number;
  /** Nearest latents by decoder direction, and most correlated ones of those asked for. Default 5. */
  readonly neighbours?: number;
  /** Token ids that do not count. Default: the tokenizer's BOS, EOS and padding, as Neuronpedia leaves them out. */
  readonly ignoreTokens?: readonly number[];
  /** Rows that run together. Default 16; fewer where all latents of a wide SAE must be computed. */
  readonly batchSize?: number;
  readonly onProgress?: (progress: { done: number; total: number }) => void;
  readonly signal?: AbortSignal;
}

const count = z.number().int().nonnegative();
const settings = z.object({
  topExamples: count.default(20),
  intervals: count.default(5),
  intervalExamples: count.default(5),
  contextWindow: z.tuple([count, count]).default([24, 8]),
  topTokens: count.default(10),
  neighbours: count.default(5),
  batchSize: count.min(1).default(16),
});
type Settings = z.output<typeof settings>;

/** Active tokens per latent from which the examples of intervals are taken. */
const sampleSize = 512;
/** Numbers that encoding a batch may make at most. */
const encodedNumbers = 5e7;

/**
 * Dashboards of latents, computed from data (after SAEDashboard and sae_vis, McDougall 2024): where each latent is most
 * active, how often and how strongly, which tokens its decoder direction promotes and suppresses, which latents lie near,
 * and what it does to each example of a task. SAEs and transcoders read the plain model, each at its own hook point. There is one forward
 * pass per batch for all latents together, up to the last of their hook points, and only their own activations are
 * computed (a topk SAE must rank all). Memory does not grow with the data.
 *
 * @throws AnalysisError for a latent that is not there, data without rows, options that are not counts; ModelError when a
 *   row is longer than the context
 * @example
 * const latents = [{ hook: "blocks.9.attn.hook_z", latent: 7 }];
 * const dashboards = await latentDashboards({ model, saes, latents, data: prompts });
 * console.log(String(dashboards));
 */
export async function latentDashboards(options: LatentDashboardsOptions): Promise<Dashboards> {
  const { model, saes, results = {}, signal, onProgress } = options;
  const set = checked(options);
  const latents = options.latents.map(({ hook, latent }) => ({ hook: saeHook(hook), latent }));
  const sites = sitesOf(saes, latents);
  const rows = rowsOf(options);
  const token = tokenText(model);
  const special = model.hasTokenizer ? model.tokenizer.special.ids : {};
  const ignored = new Set(options.ignoreTokens ?? [special.bos, special.eos, special.pad]);

  const collector = new Collector(latents.length, {
    topExamples: set.topExamples,
    sample: set.intervals * set.intervalExamples > 0 ? sampleSize : 0,
    context: set.contextWindow,
  } satisfies CollectorOptions);
  const narrow = new Map(sites.map((site) => [site, narrowed(site.sae, site.latents)]));
  try {
    const perToken = Math.max(0, ...[...narrow.values()].map(({ width }) => width));
    const longest = rows.reduce((top, row) => Math.max(top, row.length), 1);
    const size = Math.max(1, Math.min(set.batchSize, Math.floor(encodedNumbers / (longest * Math.max(1, perToken)))));
    // Rows of similar length together: little padding.
    const order = Array.from(rows.keys()).sort((a, b) => rows[a]!.length - rows[b]!.length);
    for (let start = 0; start < order.length; start += size) {
      signal?.throwIfAborted();
      const part = order.slice(start, start + size);
      await collectBatch(model, part, rows, narrow, collector, ignored, signal);
      onProgress?.({ done: start + part.length, total: order.length });
    }
  } finally {
    for (const each of narrow.values()) each.dispose();
  }

  const directions = new Map<number, Directions>();
  for (const { sae, latents: own, places } of sites) {
    const found = await directionsOf(model, sae, own, set, token);
    places.forEach((place, i) => directions.set(place, found[i]!));
  }
  const effects = effectsOfLatents(results, latents);
  const dashboards = latents.map(({ hook, latent }, i) => {
    const sae = sites.find((site) => site.places.includes(i))!.sae;
    const id = sae.cfg.metadata.neuronpedia_id;
    return new Dashboard({
      hook,
      latent,
      ...activityOf(collector, i, set, (window) => exampleAt(window, rows[window.row]!, token)),
      ...directions.get(i)!,
      correlated: correlatedWith(collector, i, latents, set.neighbours),
      effects: effects[i]!,
      neuronpedia: typeof id === "string" ? neuronpediaLinks(id, latent) : null,
    });
  });
  return new Dashboards(dashboards);
}

function checked(options: LatentDashboardsOptions): Settings {
  const parsed = settings.safeParse(options);
  if (parsed.success) return parsed.data;
  throw new AnalysisError("these options of dashboards are not valid", {
    code: "dashboards/options",
    received: z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "),
  });
}

/** An SAE with those of its latents that are asked for, and their places in the list. */
interface Site {
  readonly sae: LatentModel;
  readonly latents: number[];
  readonly places: number[];
}

function sitesOf(saes: readonly LatentModel[], latents: readonly LatentRef[]): Site[] {
  const sites = new Map<string, Site>();
  for (const [place, { hook, latent }] of latents.entries()) {
    const sae = saes.find(({ hookNameOut }) => hookNameOut === hook);
    if (sae === undefined || !(Number.isInteger(latent) && latent >= 0 && latent < sae.dSae))
      throw new AnalysisError("there is no such latent", {
        code: "dashboards/latent",
        expected: saes.map(({ hookNameOut, dSae }) => `0 … ${dSae - 1} at ${hookNameOut}`).join(", ") || "an SAE",
        received: `${latent} at ${hook}`,
      });
    const site = sites.get(hook) ?? { sae, latents: [], places: [] };
    sites.set(hook, site);
    site.latents.push(latent);
    site.places.push(place);
  }
  return [...sites.values()];
}

/** Token ids of every row of the data. */
function rowsOf({ model, data, results = {} }: LatentDashboardsOptions): readonly (readonly number[])[] {
  const [first] = Object.values(results);
  const stored = first?.examples.flatMap(({ tokens }) => (tokens === undefined ? [] : [tokens]));
  const given = data ?? stored ?? [];
  const rows = given.map((row) => (typeof row === "string" ? model.toTokens(row)[0]! : row));
  if (rows.length > 0 && rows.every((row) => row.length > 0)) return rows;
  throw new AnalysisError("dashboards need data", {
    code: "dashboards/data",
    expected: "rows of at least one token",
    received: rows.length === 0 ? "no rows" : "an empty row",
    hint: "give `data`, or `results` of a run that kept its tokens",
  });
}

/** Each token's own text; its id where the model has no tokenizer. */
function tokenText(model: HookedModel): (id: number) => string {
  if (!model.hasTokenizer) return String;
  const known = new Map<number, string>();
  return (id) => {
    let text = known.get(id);
    if (text === undefined) known.set(id, (text = model.tokenizer.tokenStrings([id])[0]!));
    return text;
  };
}

async function collectBatch(
  model: HookedModel,
  part: readonly number[],
  rows: readonly (readonly number[])[],
  narrow: ReadonlyMap<Site, Narrowed>,
  collector: Collector,
  ignored: ReadonlySet<number | undefined>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const length = Math.max(...part.map((row) => rows[row]!.length));
  const padded = part.map((row) => [...rows[row]!, ...new Array<number>(length - rows[row]!.length).fill(0)]);
  const mask = part.map((row) => padded[0]!.map((_, p) => (p < rows[row]!.length ? 1 : 0)));
  const batch = model.batch(padded, { attentionMask: mask });
  const sites = [...narrow.keys()];
  const acts = await model.run(
    batch,
    ({ hooks }): Tensor[] => sites.map((site) => narrow.get(site)!.acts(hooks[site.sae.hookName]!)),
    { capture: sites.map(({ sae }) => sae.hookName), signal },
  );
  // Where the activations of each latent of the list lie: tensor, column.
  const columns: { data: Float32Array; width: number; column: number }[] = [];
  sites.forEach(({ places, latents }, s) =>
    places.forEach((place, column) => {
      columns[place] = { data: acts[s]!.data as Float32Array, width: latents.length, column };
    }),
  );
  part.forEach((row, b) => {
    const ids = rows[row]!;
    collector.add({
      row,
      length: ids.length,
      counts: (position) => !ignored.has(ids[position]),
      at: (position, latent) => {
        const { data, width, column } = columns[latent]!;
        return data[(b * length + position) * width + column]!;
      },
    });
  });
}

function activityOf(
  collector: Collector,
  place: number,
  set: Settings,
  show: (window: Window) => TokenExample,
): Pick<DashboardData, "activity" | "histogram" | "groups"> {
  const stream = collector.streams[place]!;
  const { active, max, sum, rows } = stream;
  const sample = stream.sample.items;
  const top = stream.top.items;
  const groups: ExampleGroup[] = [
    {
      kind: "top",
      from: top.at(-1)?.activation ?? 0,
      to: max,
      share: active === 0 ? 0 : top.length / active,
      examples: top.map(show),
    },
  ];
  for (let i = set.intervals - 1; i >= 0 && active > 0; i--) {
    const [from, to] = [(max * i) / set.intervals, (max * (i + 1)) / set.intervals];
    const inside = sample.filter(({ activation }) => activation > from && activation <= to);
    const seen = new Set<number>();
    const distinct = inside.filter(({ row }) => !seen.has(row) && seen.add(row));
    const examples = distinct.slice(0, set.intervalExamples).sort((a, b) => b.activation - a.activation);
    groups.push({ kind: "interval", from, to, share: inside.length / sample.length, examples: examples.map(show) });
  }
  return {
    activity: {
      tokens: collector.tokens,
      active,
      density: active / collector.tokens,
      rows: collector.rows,
      rows_active: rows,
      max,
      mean: active === 0 ? 0 : sum / active,
    },
    histogram: stream.histogram.histogram,
    groups,
  };
}

function exampleAt(window: Window, ids: readonly number[], token: (id: number) => string): TokenExample {
  const tokens = ids.slice(window.start, window.start + window.activations.length).map(token);
  return { ...window, tokens };
}

function correlatedWith(
  collector: Collector,
  place: number,
  latents: readonly LatentRef[],
  k: number,
): DashboardData["correlated"] {
  return latents
    .map((other, i) => ({ ...other, correlation: i === place ? NaN : collector.correlation(place, i) }))
    .filter(({ correlation }) => Number.isFinite(correlation))
    .sort((a, b) => b.correlation - a.correlation)
    .slice(0, k);
}
