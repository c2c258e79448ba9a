/** @file The page's document, unpacked: examples, latents, and what is active where. */
import type { DashboardData, ExampleEffect } from "../../analysis/dashboards/types.ts";
import type { Packed, ReportData, ReportLatent } from "../data.ts";

/** A latent that is active in an example. */
export interface ActiveLatent {
  readonly hook: number;
  readonly latent: number;
  readonly activation: number;
  readonly ablation: number | null;
  readonly ablatedDiff: number | null;
  readonly gradient: number | null;
}

export interface Model {
  readonly data: ReportData;
  /** Short names of hooks, as tables show them. */
  readonly hookNames: readonly string[];
  readonly latents: readonly ReportLatent[];
  latent(hook: number, latent: number): ReportLatent | undefined;
  /** Latents active in an example, by its place. */
  activeIn(place: number): ActiveLatent[];
  /** The dashboard of a latent; without one, what is known from the task. */
  dashboard(hook: number, latent: number): DashboardData;
  /** The place of an example by its id. */
  placeOf(id: number): number;
}

function bytes(packed: Packed): ArrayBuffer {
  const text = atob(packed);
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out.buffer;
}

/** Each field of all latents as one object a latent. */
function latentsOf({ latents: of }: ReportData): ReportLatent[] {
  return of.latent.map((latent, i) => ({
    hook: of.hook[i]!,
    latent,
    masked: of.masked[i]!,
    unmasked: of.unmasked[i]!,
    gradient: of.gradient[i]!,
    mean: of.mean[i]!,
    low: of.low[i]!,
    high: of.high[i]!,
    sd: of.sd[i]!,
    meanActive: of.meanActive[i]!,
    active: of.active[i]!,
    proportion: of.proportion[i]!,
    meanActivation: of.meanActivation[i]!,
  }));
}

/** Active latents of single examples, by example and by latent. */
interface Rows {
  readonly at: (row: number) => ActiveLatent & { readonly place: number };
  readonly ofExample: readonly (readonly number[])[];
  readonly ofLatent: ReadonlyMap<number, readonly number[]>;
}

/** Hook and latent as one number. */
const keyOf = (hook: number, latent: number): number => hook * 2 ** 32 + latent;

function readRows({ rows, examples }: ReportData): Rows {
  const integers = (packed: Packed): Int32Array => new Int32Array(bytes(packed));
  const numbers = (packed: Packed | null): Float32Array | null =>
    packed === null ? null : new Float32Array(bytes(packed));
  const [places, hooks, latents] = [integers(rows.example), integers(rows.hook), integers(rows.latent)];
  const activations = new Float32Array(bytes(rows.activation));
  const [ablation, ablatedDiff, gradient] = [rows.ablation, rows.ablatedDiff, rows.gradient].map(numbers);
  const ofExample = examples.map((): number[] => []);
  const ofLatent = new Map<number, number[]>();
  places.forEach((place, i) => {
    ofExample[place]!.push(i);
    const key = keyOf(hooks[i]!, latents[i]!);
    const own = ofLatent.get(key);
    if (own === undefined) ofLatent.set(key, [i]);
    else own.push(i);
  });
  return {
    at: (i) => ({
      place: places[i]!,
      hook: hooks[i]!,
      latent: latents[i]!,
      activation: activations[i]!,
      ablation: ablation?.[i] ?? null,
      ablatedDiff: ablatedDiff?.[i] ?? null,
      gradient: gradient?.[i] ?? null,
    }),
    ofExample,
    ofLatent,
  };
}

/** Reads the document; what is active where only when it is asked for, so that the page opens soon. */
export function readModel(data: ReportData): Model {
  const { hooks, examples } = data;
  const latents = latentsOf(data);
  let unpacked: Rows | undefined;
  const rows = (): Rows => (unpacked ??= readRows(data));
  const metrics = new Map(latents.map((each) => [keyOf(each.hook, each.latent), each]));
  const names = hooks.map(({ name }) => name);
  const dashboards = new Map(data.dashboards.map((each) => [keyOf(names.indexOf(each.hook), each.latent), each]));
  const places = new Map(examples.map(({ id }, place) => [id, place]));

  function effects(h: number, l: number): ExampleEffect[] {
    const size = (e: ExampleEffect): number => Math.abs(e.ablation ?? e.gradient ?? 0);
    const { at, ofLatent } = rows();
    return (ofLatent.get(keyOf(h, l)) ?? [])
      .map((i) => {
        const { place, activation: own, ablation, ablatedDiff, gradient } = at(i);
        const { id, sae } = examples[place]!;
        return {
          example: id,
          activation: own,
          logit_diff: sae?.diff ?? 0,
          ablation,
          ablated_logit_diff: ablatedDiff,
          gradient,
        };
      })
      .sort((a, b) => size(b) - size(a) || a.example - b.example);
  }

  return {
    data,
    latents,
    hookNames: names.map((name) => name.replace(/^blocks\./, "").replace(/\.(attn|mlp)\./, ".")),
    latent: (h, l) => metrics.get(keyOf(h, l)),
    activeIn: (place) => rows().ofExample[place]!.map(rows().at),
    placeOf: (id) => places.get(id) ?? -1,
    dashboard(h, l) {
      const own = dashboards.get(keyOf(h, l));
      if (own !== undefined) return { ...own, effects: effects(h, l) };
      const { neuronpedia } = hooks[h]!;
      return {
        hook: names[h]!,
        latent: l,
        activity: { tokens: 0, active: 0, density: 0, rows: 0, rows_active: 0, max: 0, mean: 0 },
        histogram: { edges: [], counts: [] },
        groups: [],
        logits: null,
        neighbours: [],
        correlated: [],
        effects: effects(h, l),
        neuronpedia: neuronpedia === null ? null : { page: `https://neuronpedia.org/${neuronpedia}/${l}`, embed: "" },
      };
    },
  };
}
