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

/** Reads the document. */
export function readModel(data: ReportData): Model {
  const { rows, hooks, examples } = data;
  const fields = Object.entries(data.latents);
  const latents = data.latents.latent.map(
    (_, i) => Object.fromEntries(fields.map(([field, values]) => [field, values[i]])) as object as ReportLatent,
  );
  const integers = (packed: Packed): Int32Array => new Int32Array(bytes(packed));
  const numbers = (packed: Packed | null): Float32Array | null =>
    packed === null ? null : new Float32Array(bytes(packed));
  const [example, hook, latent] = [integers(rows.example), integers(rows.hook), integers(rows.latent)];
  const activation = new Float32Array(bytes(rows.activation));
  const values = {
    ablation: numbers(rows.ablation),
    ablatedDiff: numbers(rows.ablatedDiff),
    gradient: numbers(rows.gradient),
  };
  const at = (i: number): ActiveLatent => ({
    hook: hook[i]!,
    latent: latent[i]!,
    activation: activation[i]!,
    ablation: values.ablation?.[i] ?? null,
    ablatedDiff: values.ablatedDiff?.[i] ?? null,
    gradient: values.gradient?.[i] ?? null,
  });
  const key = (h: number, l: number): string => `${h}/${l}`;
  const byExample = examples.map((): number[] => []);
  const byLatent = new Map<string, number[]>();
  example.forEach((place, i) => {
    byExample[place]!.push(i);
    const own = byLatent.get(key(hook[i]!, latent[i]!));
    if (own === undefined) byLatent.set(key(hook[i]!, latent[i]!), [i]);
    else own.push(i);
  });
  const metrics = new Map(latents.map((each) => [key(each.hook, each.latent), each]));
  const names = hooks.map(({ name }) => name);
  const dashboards = new Map(data.dashboards.map((each) => [key(names.indexOf(each.hook), each.latent), each]));
  const places = new Map(examples.map(({ id }, place) => [id, place]));

  function effects(h: number, l: number): ExampleEffect[] {
    const size = (e: ExampleEffect): number => Math.abs(e.ablation ?? e.gradient ?? 0);
    return (byLatent.get(key(h, l)) ?? [])
      .map((i) => {
        const { activation: own, ablation, ablatedDiff, gradient } = at(i);
        const { id, sae } = examples[example[i]!]!;
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
    latent: (h, l) => metrics.get(key(h, l)),
    activeIn: (place) => byExample[place]!.map(at),
    placeOf: (id) => places.get(id) ?? -1,
    dashboard(h, l) {
      const own = dashboards.get(key(h, l));
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
