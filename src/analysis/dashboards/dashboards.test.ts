import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  randomModel,
  randomRows,
  randomSae,
  randomTranscoder,
  saeKinds,
  shapes,
  type SaeKind,
} from "../../../test/support/random.ts";
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { analysisResult } from "../tables/index.ts";
import { cardHtml } from "./card.ts";
import { Best, Collector, GrowingHistogram, histogramOf } from "./collect.ts";
import { latentDashboards, type Dashboards, type DashboardData } from "./index.ts";

const rows = randomRows([9, 3, 14, 14, 1, 6, 11], 30, 3);
const latents = [3, 0, 17];

/** Activations of every token, by the SAE's own full encoding of one row at a time. */
async function reference(model: HookedModel, sae: LatentModel, latent: number): Promise<number[][]> {
  const all: number[][] = [];
  for (const row of rows) {
    const acts = await model.run([row], ({ hooks }) => sae.encode(hooks[sae.hookName]!).acts);
    all.push(row.map((_, p) => acts.data[p * sae.dSae + latent] as number));
  }
  return all;
}

const close = (got: number, want: number): void =>
  expect(Math.abs(got - want)).toBeLessThan(1e-4 * (1 + Math.abs(want)));

const transcoderKinds = ["transcoder", "jumprelu_skip_transcoder"] as const;
const isSae = (kind: string): kind is SaeKind => (saeKinds as readonly string[]).includes(kind);

describe.each([...saeKinds, ...transcoderKinds])("latents of kind %s", (kind) => {
  const model = randomModel(shapes["gpt2"]!, 5);
  const sae: LatentModel = isSae(kind)
    ? randomSae(model, "blocks.1.attn.hook_z", kind, 24, 8)
    : randomTranscoder(model, ["blocks.1.attn.hook_z", "blocks.1.mlp.hook_post"], kind, 24, 8);
  let made: DashboardData[];
  beforeAll(async () => {
    const options = { topExamples: 3, contextWindow: [2, 1], ignoreTokens: [], batchSize: 3 } as const;
    const asked = latents.map((latent) => ({ hook: sae.hookNameOut, latent }));
    made = (await latentDashboards({ model, saes: [sae], latents: asked, data: rows, ...options })).toJSON();
  });
  afterAll(() => sae.dispose());

  it("activity, histogram and examples are those of its full encoding, row by row", async () => {
    for (const [i, latent] of latents.entries()) {
      const acts = await reference(model, sae, latent);
      const { activity, histogram, groups, hook } = made[i]!;
      const positive = acts.flat().filter((value) => value > 0);
      expect(hook).toBe(sae.hookNameOut);
      expect(activity).toMatchObject({
        tokens: acts.flat().length,
        active: positive.length,
        rows: rows.length,
        rows_active: acts.filter((row) => row.some((value) => value > 0)).length,
      });
      expect(histogram.counts.reduce((sum, count) => sum + count, 0)).toBe(positive.length);
      if (positive.length === 0) continue;
      close(activity.max, Math.max(...positive));
      close(activity.mean, positive.reduce((sum, value) => sum + value, 0) / positive.length);
      const peaks = acts.map((row) => Math.max(...row)).filter((value) => value > 0);
      const top = groups[0]!.examples;
      peaks.sort((x, y) => y - x);
      // Equal activations may differ in their last bits from batch to batch, so rows are compared by their activations.
      expect(top).toHaveLength(Math.min(3, peaks.length));
      expect(new Set(top.map(({ row }) => row)).size).toBe(top.length);
      for (const [j, { row, position, activation, start, tokens, activations }] of top.entries()) {
        close(activation, peaks[j]!);
        close(activation, acts[row]![position]!);
        expect(start).toBe(Math.max(0, position - 2));
        expect(tokens).toEqual(rows[row]!.slice(start, position + 2).map(String));
        activations.forEach((value, t) => close(value, acts[row]![start + t]!));
      }
      for (const { from, to, examples } of groups.slice(1))
        for (const { activation, row, position } of examples) {
          expect(activation > from && activation <= to).toBe(true);
          close(activation, acts[row]![position]!);
        }
    }
  });

  it("neighbours and correlations are those of plain loops", async () => {
    const { dSae, dOut } = sae;
    const W = sae.params.W_dec.data as Float32Array;
    const dot = (a: number, b: number): number =>
      Array.from({ length: dOut }, (_, d) => W[a * dOut + d]! * W[b * dOut + d]!).reduce((sum, x) => sum + x, 0);
    const cosine = (a: number, b: number): number => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    const acts = await Promise.all(latents.map(async (latent) => (await reference(model, sae, latent)).flat()));
    const centred = acts.map((xs) => xs.map((x) => x - xs.reduce((a, b) => a + b, 0) / xs.length));
    const inner = (a: number, b: number): number => centred[a]!.reduce((sum, x, t) => sum + x * centred[b]![t]!, 0);
    for (const [i, latent] of latents.entries()) {
      const near = Array.from({ length: dSae }, (_, other) => other)
        .filter((other) => other !== latent)
        .sort((a, b) => cosine(latent, b) - cosine(latent, a));
      expect(made[i]!.neighbours.map((n) => n.latent)).toEqual(near.slice(0, 5));
      made[i]!.neighbours.forEach((n) => close(n.cosine, cosine(latent, n.latent)));
      for (const { latent: other, correlation } of made[i]!.correlated) {
        const j = latents.indexOf(other);
        close(correlation, inner(i, j) / Math.sqrt(inner(i, i) * inner(j, j)));
      }
    }
  });
});

describe("logit weights", () => {
  it.each([
    ["gpt2", "blocks.1.attn.hook_z", "standard"],
    ["gpt2", "blocks.2.hook_resid_pre", "topk-rescaled"],
    ["llama", "blocks.1.attn.hook_z", "jumprelu"],
    ["gemma2", "blocks.0.attn.hook_z", "standard"],
    ["gemma2", "blocks.0.hook_mlp_out", "standard"],
    ["gemma2", "blocks.0.hook_mlp_out", "skip_transcoder"],
  ] as const)("of %s at %s (%s) are those of plain loops", async (shape, hook, kind) => {
    const model = randomModel(shapes[shape]!, 11);
    const sae: LatentModel = isSae(kind)
      ? randomSae(model, hook, kind, 20, 4)
      : randomTranscoder(model, ["blocks.0.attn.hook_z", hook], kind, 20, 4);
    const asked = [{ hook, latent: 7 }];
    const options = { topTokens: 30, data: [[1, 2]] };
    const { logits } = (await latentDashboards({ model, saes: [sae], latents: asked, ...options })).dashboards[0]!.data;
    const get = async (name: string): Promise<number[] | undefined> => {
      const x = model.weights.get(name);
      return x && Array.from((await model.runtime.realize(x)).data as Float32Array);
    };
    const { d_model: d, d_vocab_out: V } = model.cfg;
    const norm = (x: readonly number[]): number => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
    const mean = (x: readonly number[]): number => x.reduce((sum, v) => sum + v, 0) / x.length;
    let x = Array.from((sae.params.W_dec.data as Float32Array).slice(7 * sae.dOut, 8 * sae.dOut));
    if (kind === "topk-rescaled") x = x.map((v) => v / norm(x));
    if (hook.endsWith("hook_z")) {
      const W_O = (await get(hook.replace("hook_z", "W_O")))!;
      const z = x;
      x = Array.from({ length: d }, (_, m) => z.reduce((sum, v, i) => sum + v * W_O[i * d + m]!, 0));
      const post = await get("blocks.0.ln1_post.w");
      if (post) x = x.map((v, m) => v * post[m]!);
    }
    if (shape === "gpt2") x = x.map((v) => v - mean(x));
    const w = (await get("ln_final.w"))!;
    x = x.map((v, m) => v * w[m]!);
    const W_U = (await get("unembed.W_U"))!;
    const raw = Array.from({ length: V }, (_, t) => x.reduce((sum, v, m) => sum + v * W_U[m * V + t]!, 0));
    const centre = mean(raw);
    const want = raw.map((v) => v - centre);
    const order = want.map((_, t) => t).sort((a, b) => want[b]! - want[a]!);
    expect(logits!.promoted.map(({ id }) => id)).toEqual(order);
    expect(logits!.suppressed.map(({ id }) => id)).toEqual(order.toReversed());
    logits!.promoted.forEach(({ id, weight }) => close(weight, want[id]!));
    expect(logits!.histogram.counts.reduce((a, b) => a + b, 0)).toBe(V);
    expect(logits!.histogram.edges[0]).toBeCloseTo(Math.min(...want), 4);
  });

  it("are absent where the hook point does not write to the residual stream", async () => {
    const model = randomModel(shapes["gpt2"]!, 11);
    const sae = randomSae(model, "blocks.1.attn.hook_q", "standard", 20, 4);
    const asked = [{ hook: sae.hookName, latent: 1 }];
    const made = await latentDashboards({ model, saes: [sae], latents: asked, data: rows });
    expect(made.dashboards[0]!.data.logits).toBeNull();
    expect(String(made)).toContain("no logit weights");
  });
});

describe("several SAEs", () => {
  const model = randomModel(shapes["gpt2"]!, 5);
  const saes = [
    randomSae(model, "blocks.1.attn.hook_z", "standard", 24, 8),
    randomSae(model, "blocks.2.hook_resid_pre", "topk", 40, 9),
  ];
  const asked = [
    { hook: "blocks.2.hook_resid_pre.hook_sae_acts_post", latent: 39 },
    { hook: "blocks.1.attn.hook_z", latent: 3 },
    { hook: "blocks.2.hook_resid_pre", latent: 0 },
  ];
  const hooks = saes.map((sae) => ({ name: `${sae.hookName}.hook_sae_acts_post`, width: sae.dSae }));
  const example = {
    batch: 0,
    label_ids: 1,
    orig_labels: 0,
    answer_indices: 2,
    loss: 1,
    preds: 0,
    answer_logits: [1, 0],
  };
  const examples = [
    { ...example, example: 4, logit_diffs: 0.5, tokens: [1, 2, 3] },
    { ...example, example: 5, logit_diffs: -1, tokens: [4, 5, 6, 7] },
  ];
  const active = [
    { example: 4, hook: hooks[0]!.name, latent: 3, activation: 2 },
    { example: 5, hook: hooks[0]!.name, latent: 3, activation: 1 },
    { example: 5, hook: hooks[1]!.name, latent: 39, activation: 4 },
  ];
  const results = {
    logit_diffs_attr_grad: analysisResult(
      "logit_diffs_attr_grad",
      hooks,
      examples,
      active.map((row, i) => ({ ...row, attribution_values: [0.25, 0.5, 1][i]! })),
    ),
    logit_diffs_attr_ablation: analysisResult(
      "logit_diffs_attr_ablation",
      hooks,
      examples,
      active.map((row, i) => ({
        ...row,
        attribution_values: [0.5, -2, 3][i]!,
        ablated_logit_diff: [0, 1, -4][i]!,
        ablated_loss: 1,
        ablated_pred: 0,
      })),
    ),
  };
  let made: Dashboards;
  beforeAll(async () => {
    made = await latentDashboards({ model, saes, latents: asked, data: rows, results });
  });

  it("stand in the order in which they were asked for", () => {
    expect(made.toJSON().map(({ hook, latent }) => `${hook} ${latent}`)).toEqual([
      "blocks.2.hook_resid_pre 39",
      "blocks.1.attn.hook_z 3",
      "blocks.2.hook_resid_pre 0",
    ]);
  });

  it("have their effects on the task, largest first", () => {
    const [first, second, third] = made.toJSON().map(({ effects }) => effects);
    expect(first).toEqual([
      { example: 5, activation: 4, logit_diff: -1, ablation: 3, ablated_logit_diff: -4, gradient: 1 },
    ]);
    expect(second!.map((e) => [e.example, e.ablation, e.gradient])).toEqual([
      [5, -2, 0.5],
      [4, 0.5, 0.25],
    ]);
    expect(third).toEqual([]);
  });

  it("take the examples of the results where no data is given", async () => {
    const own = await latentDashboards({ model, saes, latents: asked, results });
    expect(own.dashboards[0]!.data.activity).toMatchObject({ tokens: 7, rows: 2 });
  });

  it("do not depend on how rows are batched", async () => {
    const plain = (all: Dashboards): unknown =>
      all.toJSON().map(({ activity, groups, histogram }) => ({
        counts: [activity.tokens, activity.active, activity.rows_active],
        histogram: histogram.counts,
        places: groups.map((group) => group.examples.map(({ row, position }) => [row, position])),
      }));
    const one = await latentDashboards({ model, saes, latents: asked, data: rows, batchSize: 1 });
    expect(plain(one)).toEqual(plain(made));
  });

  it("leave out ignored tokens", async () => {
    const ignoreTokens = [rows[0]![0]!];
    const without = await latentDashboards({ model, saes, latents: asked, data: rows, ignoreTokens });
    const left = rows.flat().filter((id) => id !== ignoreTokens[0]).length;
    expect(left).toBeLessThan(rows.flat().length);
    expect(without.dashboards[0]!.data.activity.tokens).toBe(left);
  });

  it("are text, cards, pictures and data", async () => {
    const text = String(made.dashboards[1]);
    expect(text).toContain("#3 at blocks.1.attn.hook_z\nactive at ");
    expect(text).toContain("total effects: ablation -1.5, gradient +0.75");
    expect(text).toMatch(/largest activations\n +[\d.]+ {2}.*«/);
    const html = await made.toHTML({ style: false });
    expect(html.match(/<article/g)).toHaveLength(3);
    expect(html).not.toMatch(/<script|<style|style=|src=/);
    expect(await made.dashboards[1]!.toSVG()).toContain("Logit weights");
    const csv = made.toCSV().trim().split("\r\n");
    expect(csv[0]).toMatch(/^hook,latent,group/);
    expect(csv.filter((line) => line.startsWith("hook,"))).toHaveLength(1);
    expect(csv).toHaveLength(
      1 + made.toJSON().reduce((n, { groups }) => n + groups.reduce((m, group) => m + group.examples.length, 0), 0),
    );
  });

  it.each([
    [{ latents: [{ hook: "blocks.1.attn.hook_z", latent: 24 }] }, "there is no such latent; expected 0 … 23"],
    [{ latents: [{ hook: "blocks.0.attn.hook_z", latent: 0 }] }, "24 at blocks.0.attn.hook_z".slice(3)],
    [{ data: [] }, "dashboards need data"],
    [{ data: [[1], []] }, "an empty row"],
    [{ batchSize: 0 }, "batchSize"],
    [{ contextWindow: [-1, 2] as const }, "contextWindow"],
  ])("%j is an error", async (wrong, message) => {
    const asking = latentDashboards({ model, saes, latents: asked, data: rows, ...wrong });
    await expect(asking).rejects.toThrow(message);
  });

  it("stop when they are told to", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(latentDashboards({ model, saes, latents: asked, data: rows, signal })).rejects.toThrow("enough");
  });
});

describe("streams", () => {
  it("keep the best, the earlier of equals", () => {
    const best = new Best<string>(2);
    let rank = 0;
    for (const [score, item] of [
      [1, "a"],
      [3, "b"],
      [1, "c"],
      [3, "d"],
      [2, "e"],
    ] as const)
      best.offer(score, rank++, () => item);
    expect(best.items).toEqual(["b", "d"]);
    const none = new Best<string>(0);
    none.offer(1, 0, () => "x");
    expect(none.items).toEqual([]);
  });

  it("histograms grow and keep every count where it belongs", () => {
    const histogram = new GrowingHistogram();
    const values = [0.5, 0.51, 3, 100, 0.0001, 64, 99.9];
    for (const value of values) histogram.add(value);
    const { edges, counts } = histogram.histogram;
    expect(counts).toEqual(
      counts.map((_, i) => values.filter((value) => value > edges[i]! && value <= edges[i + 1]!).length),
    );
    expect(counts.length).toBeGreaterThan(32);
    expect(new GrowingHistogram().histogram).toEqual({ counts: [], edges: [] });
    expect(histogramOf([2, 2, 2], 5)).toEqual({ edges: [2, 2], counts: [3] });
  });

  it("a sample is uniform over active tokens", () => {
    const collector = new Collector(1, { topExamples: 0, sample: 100, context: [0, 0] });
    for (let row = 0; row < 200; row++)
      collector.add({ row, length: 10, counts: () => true, at: (position) => (position < 5 ? 1 : 0) });
    const { items } = collector.streams[0]!.sample;
    expect(items).toHaveLength(100);
    expect(items.every(({ position }) => position < 5)).toBe(true);
    // Of 200 rows, 100 of 1000 places: about 50 in each half, with a deviation of 5.
    const half = items.filter(({ row }) => row < 100).length;
    expect(Math.abs(half - 50)).toBeLessThan(20);
  });
});

it("text of strangers is harmless in a card", () => {
  const nasty = `</span><script>alert(1)</script>"'&\u202e\u0007`;
  const example = { row: 0, position: 0, activation: 1, start: 0, tokens: [nasty], activations: [1] };
  const html = cardHtml({
    hook: nasty,
    latent: 1,
    activity: { tokens: 1, active: 1, density: 1, rows: 1, rows_active: 1, max: 1, mean: 1 },
    histogram: { edges: [0, 1], counts: [1] },
    groups: [{ kind: "top", from: 1, to: 1, share: 1, examples: [example] }],
    logits: {
      through: nasty,
      promoted: [{ id: 0, token: nasty, weight: 1 }],
      suppressed: [],
      histogram: { edges: [0, 1], counts: [1] },
    },
    neighbours: [{ latent: 2, cosine: 1 }],
    correlated: [{ hook: nasty, latent: 3, correlation: 1 }],
    effects: [],
    neuronpedia: { page: `https://neuronpedia.org/"><script>`, embed: "" },
  });
  expect(html).not.toContain("<script");
  expect(html).not.toMatch(/[\u202e\u0007]/);
  expect(html.match(/&lt;script&gt;alert\(1\)/g)!.length).toBeGreaterThanOrEqual(5);
});
