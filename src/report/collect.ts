/** @file From the analyses of a run to the one document that a report page is drawn from. */
import {
  accuracyTable,
  analysisNames,
  attributionAgreement,
  type AnalysisStore,
  latentMetrics,
  saeDamage,
  timingTable,
  type AnalysisResult,
  type Dashboards,
  type LatentMetrics,
  type LatentRef,
  type Manifest,
  type ResultsByName,
} from "../analysis/index.ts";
import { stringify } from "yaml";
import { saeHook } from "../analysis/dashboards/effects.ts";
import { exampleOf } from "../analysis/views/shapes.ts";
import { fixed, general, type Cell, type Table } from "../display/index.ts";
import type { Json, JsonObject } from "../formats/index.ts";
import type { HookedModel } from "../model/index.ts";
import type { LatentModel } from "../sae/index.ts";
import type { Agreement, Outcome, Packed, PlainTable, ReportData, ReportExample, ReportLatent } from "./data.ts";
import { ReportError } from "./errors.ts";

/** Everything that a report may draw on. */
export interface ReportSource {
  readonly results: ResultsByName;
  readonly manifest?: Manifest;
  readonly model?: HookedModel;
  readonly saes?: readonly LatentModel[];
  readonly dashboards?: Dashboards;
  readonly dashboardSource?: string;
  readonly title?: string;
  /** Names of the answers, one per class. Default: of the store's config, else of each example, else the classes' numbers. */
  readonly answers?: readonly string[];
}

/** Analyses of a store by name. */
export async function loadResults(store: AnalysisStore): Promise<ResultsByName> {
  const all = await Promise.all(store.analyses.map(async (name) => [name, await store.load(name)] as const));
  return Object.fromEntries(all);
}

const level = 0.95;

/** Metrics of the analyses that have attributions. */
export interface ReportMetrics {
  readonly ablation: LatentMetrics | undefined;
  readonly gradient: LatentMetrics | undefined;
}

/** Metrics as the published tables have them, with intervals for the leading one: ablation where it is there. */
export function reportMetrics(results: ResultsByName): ReportMetrics {
  const { logit_diffs_sae: sae, logit_diffs_attr_ablation: ablation, logit_diffs_attr_grad: gradient } = results;
  const metrics = (result: AnalysisResult | undefined, leads: boolean): LatentMetrics | undefined =>
    result && latentMetrics(result, { activations: sae ?? result, ...(leads && { bootstrap: { level } }) });
  return { ablation: metrics(ablation, true), gradient: metrics(gradient, ablation === undefined) };
}

/** The latents with the largest effects of either sign at each hook: those that deserve a dashboard. */
export function strongestLatents({ ablation, gradient }: ReportMetrics, topK: number): LatentRef[] {
  return ((ablation ?? gradient)?.hooks ?? []).flatMap(({ hook, latents, total_effect_unmasked: effect }) => {
    const order = [...latents.keys()].sort((a, b) => effect[b]! - effect[a]!);
    const up = order.filter((i) => effect[i]! > 0).slice(0, topK);
    const down = order
      .toReversed()
      .filter((i) => effect[i]! < 0)
      .slice(0, topK);
    return [...up, ...down].map((i) => ({ hook: saeHook(hook.name), latent: latents[i]! }));
  });
}

/** The document of a page. */
export function reportData(source: ReportSource, metrics: ReportMetrics): ReportData {
  const { results, manifest, dashboards } = source;
  const present = analysisNames.flatMap((name) => results[name] ?? []);
  const [first] = present;
  if (first === undefined)
    throw new ReportError("there is nothing to report", {
      code: "report/empty",
      expected: `results of one of ${analysisNames.join(", ")}`,
    });
  const { logit_diffs_base: base, logit_diffs_sae, logit_diffs_attr_ablation: ablation } = results;
  const sae = logit_diffs_sae ?? ablation ?? results.logit_diffs_attr_grad;
  const damage = base && sae && saeDamage(sae, base);
  const hooks = (sae ?? first).hooks;
  const ids = new Map(source.saes?.map((each) => [each.hookNameOut, each.cfg.metadata.neuronpedia_id]) ?? []);
  const leading = metrics.ablation ?? metrics.gradient;
  return {
    title: source.title ?? "Interpretune report",
    facts: factsOf(source, first),
    examples: examplesOf(source, first, base, sae),
    hooks: hooks.map(({ name, width }) => ({
      name: saeHook(name),
      width,
      neuronpedia: ids.get(saeHook(name)) ?? null,
    })),
    latents: latentsOf(metrics),
    leading: leading ? { name: leading.name, effects: leading.effects, examples: leading.num_examples, level } : null,
    rows: rowsOf(results),
    accuracy: plainTable(accuracyTable(present, { pairs: ablation !== undefined }), "Right answers by analysis"),
    outcomes:
      damage?.outcomes.map(({ outcome, count, mean_change }) => ({ outcome, count, change: finite(mean_change) })) ??
      [],
    pValue: damage?.p_value ?? null,
    agreement: agreementOf(metrics),
    timing: manifest ? plainTable(timingTable(manifest), "What the analyses took") : null,
    provenance: provenanceOf(source),
    dashboards: dashboards?.toJSON().map(({ effects: _, ...rest }) => rest) ?? [],
    dashboardSource: source.dashboardSource ?? null,
  };
}

const finite = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null;

function factsOf({ manifest, model, saes }: ReportSource, first: AnalysisResult): [string, string][] {
  const provenance = manifest?.provenance ?? {};
  const text = (value: Json | undefined): string | undefined =>
    typeof value === "string" ? value : Array.isArray(value) ? value.map(String).join(", ") : undefined;
  const name = (path: string | undefined): string | undefined => path?.split("/").slice(-1)[0];
  const facts: [string, string | undefined][] = [
    ["Model", name(text(provenance["model"])) ?? model?.cfg.model_name ?? undefined],
    [
      "SAEs",
      first.hooks.map((hook) => saeHook(hook.name)).join(", ") || saes?.map((sae) => sae.hookNameOut).join(", "),
    ],
    ["Data", name(text(provenance["data"]))],
    ["Examples", String(first.examples.length)],
    ["Positions", text(manifest?.config["positions"])],
  ];
  return facts.filter((fact): fact is [string, string] => fact[1] !== undefined && fact[1] !== "");
}

function examplesOf(
  { manifest, model, answers }: ReportSource,
  first: AnalysisResult,
  base: AnalysisResult | undefined,
  sae: AnalysisResult | undefined,
): ReportExample[] {
  const stored = manifest?.config["answers"];
  const names = answers ?? (Array.isArray(stored) ? stored.map(String) : undefined);
  const tokenizer = model?.hasTokenizer ? model.tokenizer : undefined;
  return first.examples.map((row, i) => {
    const name = (place: number): string => {
      const known = names?.[place] ?? row.answers?.[place];
      if (known !== undefined) return known;
      return place === row.orig_labels && tokenizer ? tokenizer.decode([row.label_ids]) : `class ${place}`;
    };
    const side = (result: AnalysisResult | undefined): ReportExample["base"] => {
      const own = result?.examples[i];
      return own ? { diff: own.logit_diffs, answer: name(own.preds), loss: own.loss } : null;
    };
    const right = (result: AnalysisResult): boolean => result.examples[i]!.preds === row.orig_labels;
    const outcome = ([kept, other]: readonly [Outcome, Outcome]): Outcome => (right(sae!) ? kept : other);
    const text = row.prompts ?? (row.tokens ? (tokenizer?.decode(row.tokens) ?? row.tokens.join(" ")) : "");
    return {
      id: row.example,
      text,
      ...(tokenizer && row.tokens && { tokens: tokenizer.tokenStrings(row.tokens) }),
      answer: name(row.orig_labels),
      base: side(base),
      sae: side(sae),
      outcome: base && sae ? outcome(right(base) ? ["kept", "broken"] : ["repaired", "wrong"]) : null,
    };
  });
}

const latentFields = [
  "hook",
  "latent",
  "masked",
  "unmasked",
  "gradient",
  "mean",
  "low",
  "high",
  "sd",
  "meanActive",
  "active",
  "proportion",
  "meanActivation",
] as const satisfies readonly (keyof ReportLatent)[];

function latentsOf({ ablation, gradient }: ReportMetrics): ReportData["latents"] {
  const leading = ablation ?? gradient;
  const all = (leading?.hooks ?? []).flatMap((own, hook) => {
    const other = gradient?.hooks[hook];
    const gradients = new Map(other && Array.from(other.latents, (latent, i) => [latent, other.total_effect[i]!]));
    return Array.from(own.latents, (latent, i): ReportLatent => ({
      hook,
      latent,
      masked: ablation ? own.total_effect[i]! : null,
      unmasked: ablation ? own.total_effect_unmasked[i]! : null,
      gradient: gradient ? (gradients.get(latent) ?? 0) : null,
      mean: own.mean_effect[i]!,
      low: finite(own.mean_effect_low[i]),
      high: finite(own.mean_effect_high[i]),
      sd: finite(own.sd_effect[i]),
      meanActive: own.mean_effect_active[i]!,
      active: own.num_samples_active[i]!,
      proportion: own.proportion_samples_active[i]!,
      meanActivation: own.mean_activation[i]!,
    }));
  });
  const columns = latentFields.map((field) => [field, all.map((each) => each[field])]);
  return Object.fromEntries(columns) as ReportData["latents"];
}

function agreementOf({ ablation, gradient }: ReportMetrics): Agreement[] {
  if (ablation === undefined || gradient === undefined) return [];
  const { hooks } = attributionAgreement(ablation, gradient, { field: "total_effect_unmasked" });
  return hooks.map(({ latents, pearson, spearman, same_sign }, hook) => ({
    hook,
    latents,
    pearson: finite(pearson),
    spearman: finite(spearman),
    sameSign: same_sign,
  }));
}

/** Bytes of 4-byte numbers. Hosts are little-endian, as the page's reader assumes. */
const pack = (numbers: Int32Array | Float32Array): Packed =>
  Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString("base64");

function rowsOf(results: ResultsByName): ReportData["rows"] {
  const { logit_diffs_sae: sae, logit_diffs_attr_grad: grad, logit_diffs_attr_ablation: ablation } = results;
  const main = ablation ?? grad ?? sae;
  const { latents } = main ?? {};
  if (main === undefined || latents === undefined) {
    const none = pack(new Int32Array());
    return {
      example: none,
      hook: none,
      latent: none,
      activation: none,
      ablation: null,
      ablatedDiff: null,
      gradient: null,
    };
  }
  // The analyses of one run have the same rows, in the same order.
  const aligned = grad?.latents.length === latents.length ? grad.latents.attribution_values : undefined;
  const packed = (values: Float32Array | undefined): Packed | null => (values ? pack(values) : null);
  return {
    example: pack(exampleOf(main)),
    hook: pack(latents.hook),
    latent: pack(latents.latent),
    activation: pack(latents.activation),
    ablation: packed(ablation?.latents.attribution_values),
    ablatedDiff: packed(ablation?.latents.ablated_logit_diff),
    gradient: packed(aligned),
  };
}

/** A table with its cells as text. */
function plainTable({ columns, rows, title }: Table, fallback: string): PlainTable {
  const text = (cell: Cell, format: ((cell: Cell) => string) | undefined): string =>
    format ? format(cell) : typeof cell === "number" ? general(cell) : cell === null ? "" : String(cell);
  const numeric = columns.map((_, c) => rows.some((row) => typeof row[c] === "number"));
  return {
    title: title ?? fallback,
    columns: columns.map(({ label }, c) => ({ label, numeric: numeric[c]! })),
    rows: rows.map((row) =>
      columns.map(({ format }, c) => {
        const cell = row[c] ?? null;
        return { text: text(cell, format), value: typeof cell === "boolean" ? String(cell) : cell };
      }),
    ),
  };
}

/** What the numbers come from, in words: config, versions and circumstances. */
/** What is more than a line is YAML, as in the file it may come from. */
function block(value: Json): string {
  const line = JSON.stringify(value);
  return line.length > longestLine ? stringify(value, { lineWidth: 0 }).trimEnd() : line;
}
const longestLine = 160;

function provenanceOf({ manifest }: ReportSource): ReportData["provenance"] {
  if (manifest === undefined) return [];
  const { config, config_hash, provenance, runs, identity } = manifest;
  const say = (value: Json): string =>
    typeof value === "string"
      ? value
      : typeof value === "number" && !Number.isInteger(value)
        ? fixed(value, 3)
        : block(value);
  const entries = (object: JsonObject): [string, string][] =>
    Object.entries(object).flatMap(([key, value]) => (value === undefined ? [] : [[key, say(value)]]));
  const done = runs.filter((run) => typeof run["compute_seconds"] === "number");
  return [
    { title: "Store", entries: [["config_hash", config_hash], ...entries({ ...identity })] },
    { title: "What decides the numbers", entries: entries(config) },
    { title: "Where they come from", entries: entries(provenance) },
    ...done.map((run, i) => ({
      title: done.length === 1 ? "How they were computed" : `How they were computed, run ${i + 1}`,
      entries: entries(run),
    })),
  ];
}
