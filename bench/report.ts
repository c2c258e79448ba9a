/** @file The report page of a full split: 277 examples, two SAEs of 24576, about 75 latents active in each. */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { analysisNames, analysisResult, type AnalysisResult, type LatentRow } from "../src/analysis/index.ts";
import { uniformAt } from "../src/graph/index.ts";
import { reportPage } from "../src/report/index.ts";
import { ms, report, timed } from "./lib.ts";

const width = 24576;
const hooks = [9, 10].map((layer) => ({ name: `blocks.${layer}.attn.hook_z.hook_sae_acts_post`, width }));
const signed = (seed: number, i: number): number => 2 * uniformAt(seed, i) - 1;

const examples = Array.from({ length: 277 }, (_, example) => {
  const logit_diffs = signed(1, example) + 0.4;
  return {
    example,
    batch: example >> 1,
    label_ids: 2949,
    orig_labels: example % 2,
    answer_indices: -1,
    loss: 6 + uniformAt(2, example),
    logit_diffs,
    preds: logit_diffs > 0 ? example % 2 : 1 - (example % 2),
    answer_logits: [logit_diffs, 0],
    prompts: Array.from({ length: 60 }, (_, w) => `word${Math.floor(uniformAt(3, 60 * example + w) * 3000)}`).join(" "),
  };
});
const latents = examples.flatMap(({ example, logit_diffs }): LatentRow[] =>
  hooks.flatMap(({ name }, hook) => {
    // A few latents are active often, most rarely.
    const draw = (i: number): number => Math.floor(width * uniformAt(4 + hook, 75 * example + i) ** 3);
    const own = [...new Set(Array.from({ length: 75 }, (_, i) => draw(i)))].sort((a, b) => a - b);
    return own.map((latent, i) => {
      const effect = 0.1 * signed(7 + hook, 75 * example + i);
      const values = {
        attribution_values: effect,
        ablated_logit_diff: logit_diffs - effect,
        ablated_loss: 6,
        ablated_pred: 0,
      };
      return { example, hook: name, latent, activation: uniformAt(9, 75 * example + i) + 0.01, ...values };
    });
  }),
);
const make = (name: (typeof analysisNames)[number]): AnalysisResult =>
  analysisResult(name, hooks, examples, name === "logit_diffs_base" ? [] : latents);
const results = Object.fromEntries(analysisNames.map((name) => [name, make(name)]));

let html = "";
const { min } = await timed(async () => void (html = await reportPage(results)), { repeat: 2, warmup: 0 });
const size = Buffer.byteLength(html) / 1e6;
report({
  row: 1,
  what: `report page of 277 examples, ${latents.length} active latents: written`,
  ours: ms(min),
  theirs: `${size.toFixed(1)} MB`,
  ratio: null,
  bar: "a few MB",
  holds: size < 5,
});

const executablePath = "/usr/bin/chromium";
if (existsSync(executablePath)) {
  const { chromium } = await import("playwright-core");
  const folder = await mkdtemp(join(tmpdir(), "bench-report-"));
  const file = join(folder, "report.html");
  await writeFile(file, html);
  const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];
  const browser = await chromium.launch({ executablePath, args });
  const open = async (): Promise<number> => {
    const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
    await page.goto(pathToFileURL(file).href);
    // From the start of navigation to the frame after everything was drawn.
    const took = await page.evaluate(
      () => new Promise<number>((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now())))),
    );
    await page.close();
    return took;
  };
  await open();
  const times: number[] = [];
  for (let i = 0; i < 9; i++) times.push(await open());
  times.sort((a, b) => a - b);
  await browser.close();
  await rm(folder, { recursive: true });
  report({
    row: 1,
    what: "the same page opens in Chromium",
    ours: `${ms(times[4]!)} (fastest of nine ${ms(times[0]!)})`,
    theirs: "",
    ratio: null,
    bar: "< 1 s",
    holds: times[4]! < 1000,
  });
}
