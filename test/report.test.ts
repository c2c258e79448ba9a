/** @file The report page: what it says, and how it behaves in a browser. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AnalysisStore, analyzeDataset, type AnalysisRun } from "../src/analysis/index.ts";
import { datasetOf } from "../src/data/index.ts";
import type { HookedModel } from "../src/model/index.ts";
import { saveModel } from "../src/model/files/save.ts";
import { reportPage, type ReportData, type ReportLatent } from "../src/report/index.ts";
import type { Sae } from "../src/sae/index.ts";
import { describeWithBrowser, launch } from "./support/browser.ts";
import { cli } from "./support/cli.ts";
import { randomModel, randomRows, randomSae, shapes } from "./support/random.ts";

const nasty = `</script><img src=x onerror="document.title='hacked'"> & "quoted" 'too' <b>`;

let folder: string;
let model: HookedModel;
let saes: Sae[];
let run: AnalysisRun;
let html: string;
const file = (name: string): string => join(folder, name);

/** The document of a page. */
function documentOf(page: string): ReportData {
  const [, json] = /<script type="application\/json" id="report">(.*?)<\/script>/s.exec(page)!;
  return JSON.parse(json!) as ReportData;
}

/** The latents of a document, one by one. */
function latentsOf(data: ReportData): ReportLatent[] {
  const fields = Object.entries(data.latents);
  return data.latents.latent.map(
    (_, i) => Object.fromEntries(fields.map(([field, values]) => [field, values[i]])) as object as ReportLatent,
  );
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "report-"));
  model = randomModel(shapes["gpt2"]!, 21);
  saes = [
    randomSae(model, "blocks.1.attn.hook_z", "standard", 48, 3),
    randomSae(model, "blocks.2.hook_resid_pre", "topk", 64, 4),
  ];
  saes[0]!.cfg.metadata.neuronpedia_id = "tiny/1-att";
  const lengths = Array.from({ length: 30 }, (_, i) => 4 + (i % 7));
  const rows = randomRows(lengths, 30, 9).map((ids, i) => ({ input_ids: ids, label: i % 2 }));
  const values = rows.map((value, i) => ({ value, where: `row ${i}` }));
  await writeFile(file("data.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
  const data = await datasetOf(() => values, { name: "rows", length: rows.length });
  const provenance = { session: { config: { seed: 1, note: "<b>".repeat(80) } } };
  run = await analyzeDataset({ model, saes, data, answers: [2, 3], batchSize: 4, out: file("store"), provenance });
  const store = await AnalysisStore.open(file("store"));
  html = await reportPage(store, { model, saes, topK: 2, title: nasty });
  await writeFile(file("report.html"), html);
});
afterAll(() => rm(folder, { recursive: true }));

describe("the document", () => {
  it("has every example, latent and row of the analyses", () => {
    const data = documentOf(html);
    const { logit_diffs_base: base, logit_diffs_attr_ablation: ablation } = run.results;
    expect(data.examples.map(({ id }) => id)).toEqual(base!.examples.map(({ example }) => example));
    expect(data.examples.map((example) => example.base!.diff)).toEqual(
      base!.examples.map(({ logit_diffs }) => Number(logit_diffs.toPrecision(5))),
    );
    const floats = (packed: string): number[] =>
      Array.from(new Float32Array(Uint8Array.from(Buffer.from(packed, "base64")).buffer));
    expect(floats(data.rows.ablation!)).toEqual(Array.from(ablation!.latents.attribution_values!));
    expect(data.hooks).toEqual([
      { name: "blocks.1.attn.hook_z", width: 48, neuronpedia: "tiny/1-att" },
      { name: "blocks.2.hook_resid_pre", width: 64, neuronpedia: null },
    ]);
    expect(data.outcomes.reduce((sum, { count }) => sum + count, 0)).toBe(30);
    expect(data.timing!.rows.length).toBeGreaterThan(0);
    expect(data.provenance.flatMap(({ entries }) => entries.map(([key]) => key))).toEqual(
      expect.arrayContaining(["config_hash", "positions", "answers", "backend", "threads", "compute_seconds"]),
    );
  });

  it("has dashboards of the strongest latents of either sign at each hook", () => {
    const data = documentOf(html);
    for (const [hook, { name }] of data.hooks.entries()) {
      const own = latentsOf(data)
        .filter((each) => each.hook === hook)
        .sort((a, b) => b.unmasked! - a.unmasked!);
      const shown = data.dashboards.filter((each) => each.hook === name).map(({ latent }) => latent);
      expect(shown.slice(0, 2)).toEqual(own.slice(0, 2).map(({ latent }) => latent));
      expect(shown.slice(2)).toEqual(
        own
          .slice(-2)
          .reverse()
          .map(({ latent }) => latent),
      );
    }
  });

  it("does without a model, a store and most analyses", async () => {
    const { logit_diffs_base, logit_diffs_attr_grad } = run.results;
    const plain = documentOf(await reportPage({ logit_diffs_base }));
    expect(plain).toMatchObject({
      latents: { latent: [] },
      dashboards: [],
      timing: null,
      provenance: [],
      agreement: [],
    });
    const gradient = documentOf(await reportPage({ logit_diffs_attr_grad }));
    expect(latentsOf(gradient).every(({ masked, gradient: own }) => masked === null && own !== null)).toBe(true);
    await expect(reportPage({})).rejects.toThrow("there is nothing to report");
  });

  it("is one file that may load nothing", () => {
    expect(html).toMatch(/Content-Security-Policy" content="default-src 'none'; script-src 'sha256-/);
    expect(html).not.toMatch(/<(?:link|img|iframe|object|embed)\b|@import|url\(|\bimport\s*\(/);
    expect(html.match(/<script/g)).toHaveLength(2);
    expect(html).toContain("<title>&lt;/script&gt;&lt;img src=x onerror=");
  });
});

describe("the command line", () => {
  it("writes the page into the store, and with the model its dashboards", async () => {
    await saveModel(file("model"), model);
    for (const [i, sae] of saes.entries()) await sae.save(file(`sae${i}`));
    const plain = await cli(["report", file("store"), "--title", "Plain", "--json"]);
    expect(plain).toMatchObject({ code: 0 });
    expect(JSON.parse(plain.stdout)).toMatchObject({ report: join(file("store"), "report.html") });
    expect(documentOf(await readFile(join(file("store"), "report.html"), "utf8"))).toMatchObject({
      title: "Plain",
      dashboards: [],
    });
    const whole = ["--model", file("model"), "--saes", file("sae0"), "--saes", file("sae1"), "--dashboards", "1"];
    const other = ["--data", file("data.jsonl"), "--limit", "6", "--out", file("own.html")];
    expect(await cli(["report", file("store"), ...whole, ...other])).toMatchObject({ code: 1 });
    const made = await cli(["report", file("store"), ...whole, "--out", file("own.html")]);
    expect(made.code, made.stderr).toBe(0);
    expect(documentOf(await readFile(file("own.html"), "utf8")).dashboards).toHaveLength(4);
  });

  it("analyze writes it as well", async () => {
    const whole = ["--model", file("model"), "--saes", file("sae0"), "--data", file("data.jsonl"), "--answers", "2,3"];
    const made = await cli(["analyze", ...whole, "--limit", "4", "--out", file("second"), "--report"]);
    expect(made.code, made.stderr).toBe(0);
    expect(made.stdout).toContain(`Report: ${file("second")}`);
    expect(documentOf(await readFile(join(file("second"), "report.html"), "utf8")).examples).toHaveLength(4);
  });

  it.each([
    [["--saes", "x"], "--saes without --model"],
    [["--data", "x"], "--data is what dashboards are computed from"],
    [["--out", "/nowhere/report.html"], "there is no folder /nowhere"],
    [["--dashboards", "0"], "an integer from 1"],
  ])("%j is an error", async (flags, message) => {
    const { code, stderr } = await cli(["report", file("store"), ...flags]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(message);
  });

  it("says what is not a store", async () => {
    expect((await cli(["report", folder])).stderr).toContain("is not a store");
  });
});

describeWithBrowser("in a browser", () => {
  let browser: Browser;
  let page: Page;
  let complaints: string[];

  beforeAll(async () => void (browser = await launch()));
  afterAll(() => browser.close());
  beforeEach(async () => {
    page = await browser.newPage({ viewport: { width: 1300, height: 900 }, colorScheme: "light" });
    page.setDefaultTimeout(60_000);
    complaints = [];
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith("file:")) complaints.push(request.url());
    });
    await page.goto(pathToFileURL(file("report.html")).href);
  });
  afterEach(async () => {
    await page.close();
    expect(complaints).toEqual([]);
  });

  const latentTable = "#latents table";
  const column = (selector: string, place: number): Promise<number[]> =>
    page.$$eval(
      `${selector} tbody tr`,
      (rows, at) => rows.map((row) => Number(row.children[at]!.textContent.replace("−", "-").replace("#", ""))),
      place,
    );

  it("shows every section, in order", async () => {
    expect(await page.locator("main h2").allTextContents()).toEqual([
      "At a glance",
      "What the SAEs do to the answers",
      "What carries the answer",
      "Do ablation and gradient agree?",
      "Latent cards",
      "Examples",
      "What it took",
      "Where the numbers come from",
    ]);
    expect(await page.title()).toBe(nasty);
    expect(await page.locator("h1").textContent()).toBe(nasty);
    expect(await page.locator("main img, header img").count()).toBe(0);
  });

  it("folds what is long where the numbers come from", async () => {
    const folded = page.locator("#provenance details");
    expect(await folded.locator("summary").allTextContents()).toEqual([
      "saes, 4 lines",
      "session, 3 lines",
      expect.stringMatching(/^chains, \d+ lines$/),
    ]);
    const long = folded.nth(1);
    expect(await long.locator("pre").isVisible()).toBe(false);
    await long.locator("summary").focus();
    await page.keyboard.press("Enter");
    expect(await long.locator("pre").isVisible()).toBe(true);
    expect(await long.locator("pre").textContent()).toBe(`config:\n  seed: 1\n  note: ${"<b>".repeat(80)}`);
  });

  it("sorts by click and by keyboard, and says how", async () => {
    const head = page.locator(`${latentTable} thead th`).filter({ hasText: "Gradient" });
    const place = await head.evaluate((th) => [...th.parentElement!.children].indexOf(th));
    await head.locator("button").click();
    expect(await head.getAttribute("aria-sort")).toBe("descending");
    const down = await column(latentTable, place);
    expect(down.length).toBeGreaterThan(5);
    expect(down).toEqual([...down].sort((a, b) => b - a));
    await head.locator("button").focus();
    await page.keyboard.press("Enter");
    expect(await head.getAttribute("aria-sort")).toBe("ascending");
    const up = await column(latentTable, place);
    expect(up).toEqual([...up].sort((a, b) => a - b));
    await page.keyboard.press("Space");
    expect(await head.getAttribute("aria-sort")).toBe("descending");
    expect(await page.locator(`${latentTable} [aria-sort]`).count()).toBe(1);
  });

  it("filters, counts and shows more", async () => {
    const all = latentsOf(documentOf(html));
    const count = page.locator("#latents .count");
    expect(await count.textContent()).toBe(`25 of ${all.length} rows`);
    await page.locator("#latents .more").click();
    expect(await page.locator(`${latentTable} tbody tr`).count()).toBe(all.length);
    const { latent } = all[3]!;
    await page.getByLabel("Filter latents by number or hook").fill(`#${latent} hook_z`);
    const own = all.filter((each) => each.hook === 0 && String(each.latent).startsWith(String(latent)));
    expect(await page.locator(`${latentTable} tbody tr`).count()).toBe(own.length);
    expect(await count.textContent()).toBe(`${own.length} shown, ${all.length} in all`);
    await page.getByLabel("Filter latents by number or hook").fill("nothing like that");
    expect(await page.locator(`${latentTable} tbody tr`).count()).toBe(0);
  });

  it("shows only the examples of one outcome", async () => {
    const { outcome, count } = documentOf(html).outcomes.find((each) => each.count > 0)!;
    const button = page.locator(`#examples button[data-outcome=${outcome}]`);
    await button.click();
    expect(await button.getAttribute("aria-pressed")).toBe("true");
    expect(await page.locator("#examples tbody tr").count()).toBe(Math.min(25, count));
    await button.click();
    expect(await page.locator("#examples tbody tr").count()).toBe(25);
  });

  it("draws a card when it is opened", async () => {
    const first = page.locator("details.latent").first();
    expect(await first.locator("article").count()).toBe(0);
    await first.locator("summary").press("Enter");
    await first.locator("article").waitFor();
    expect(await first.locator("article").textContent()).toContain("Largest activations");
    expect(await first.locator("mark").count()).toBeGreaterThan(0);
    expect(await first.locator(".it-out").getAttribute("href")).toMatch(
      /^https:\/\/neuronpedia\.org\/tiny\/1-att\/\d+$/,
    );
  });

  it("opens latents and examples at the side, goes on from there, and comes back", async () => {
    const link = page.locator(`${latentTable} tbody a`).first();
    const name = (await link.textContent())!;
    await link.press("Enter");
    const dialog = page.locator("dialog");
    await dialog.waitFor();
    expect(await dialog.locator("h2").textContent()).toContain(name);
    expect(await dialog.evaluate((d) => d.contains(document.activeElement))).toBe(true);
    await dialog.locator(".it-effects a").first().click();
    await dialog.getByRole("heading", { name: /^Example/ }).waitFor();
    expect(await dialog.locator("tbody tr").count()).toBeGreaterThan(0);
    await dialog.locator("tbody a").first().click();
    await dialog.getByRole("heading", { name: /^#/ }).waitFor();
    const enabled = dialog.locator("button[data-go]:enabled").first();
    const before = await dialog.locator("h2").textContent();
    await enabled.click();
    await expect.poll(() => dialog.locator("h2").textContent()).not.toBe(before);
    await page.keyboard.press("Escape");
    await expect.poll(() => dialog.evaluate((d) => (d as HTMLDialogElement).open)).toBe(false);
    expect(await page.evaluate(() => document.activeElement!.textContent)).toBe(name);
    expect(await page.evaluate(() => location.hash)).toBe("");
  });

  it("opens what its address says, and nothing for an address that is nothing", async () => {
    const address = pathToFileURL(file("report.html")).href;
    await page.goto(`${address}#example/7`);
    await page.reload();
    await page.locator("dialog[open] h2").waitFor();
    expect(await page.locator("dialog h2").textContent()).toBe("Example 7");
    for (const wrong of ["#latent/0/48", "#latent/9/1", "#example/999", "#latent/0", "#overview"]) {
      await page.goto(address + wrong);
      await page.reload();
      expect(await page.locator("dialog[open]").count(), wrong).toBe(0);
    }
  });

  it("changes its theme", async () => {
    const paper = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(await paper()).toBe("rgb(255, 255, 255)");
    await page.getByRole("button", { name: "Dark theme" }).click();
    expect(await paper()).toBe("rgb(15, 19, 24)");
    await page.getByRole("button", { name: "Light theme" }).click();
    await page.emulateMedia({ colorScheme: "dark" });
    expect(await paper()).toBe("rgb(255, 255, 255)");
    await page.reload();
    expect(await paper()).toBe("rgb(15, 19, 24)");
  });

  it("tells the values of points to mouse and keyboard", async () => {
    const plot = page.locator("#latents .plot").first();
    await plot.scrollIntoViewIfNeeded();
    const [, x, y] = /M([\d.]+) ([\d.]+)/.exec((await plot.locator("path.dots").last().getAttribute("d"))!)!;
    await plot.hover({ position: { x: Number(x), y: Number(y) } });
    expect(await plot.locator(".tip").textContent()).toMatch(/^#\d+: total effect [+−]/);
    await plot.focus();
    await page.keyboard.press("Home");
    const said = page.locator("#latents figure [aria-live]").first();
    const first = await said.textContent();
    await page.keyboard.press("ArrowRight");
    const second = await said.textContent();
    expect(second).not.toBe(first);
    expect(await plot.locator(".tip").isVisible()).toBe(true);
    await page.keyboard.press("Enter");
    await page.locator("dialog[open]").waitFor();
    expect(await page.locator("dialog h2").textContent()).toContain(/^#\d+/.exec(second!)![0]);
  });

  it("fits a narrow window", async () => {
    await page.setViewportSize({ width: 380, height: 800 });
    await page.locator("details.latent summary").first().click();
    await page.waitForFunction(() => document.querySelector("details article") !== null);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wide).toBeLessThanOrEqual(0);
  });

  it("prints without its controls", async () => {
    await page.emulateMedia({ media: "print" });
    for (const control of [".toc", ".theme", "#latents .tools input", "#latents .more"])
      expect(await page.locator(control).first().isVisible(), control).toBe(false);
    expect(await page.locator(latentTable).isVisible()).toBe(true);
  });

  it("can be read without seeing it", async () => {
    await page.locator("details.latent summary").first().click();
    await page.locator("details article").first().waitFor();
    const faults = await page.evaluate(() => {
      const found: string[] = [];
      const all = (selector: string): Element[] => [...document.querySelectorAll(selector)];
      const nameOf = (element: Element): string => {
        const by = element.getAttribute("aria-labelledby");
        const label = element.id === "" ? null : document.querySelector(`label[for="${element.id}"]`);
        const own = element.getAttribute("aria-label") ?? label?.textContent ?? element.textContent;
        return (by === null ? own : document.getElementById(by)!.textContent).trim();
      };
      for (const element of all(
        "button, a[href], input, summary, [tabindex='0'], nav, section[aria-labelledby], svg[role=img]",
      ))
        if (nameOf(element) === "") found.push(`no name: ${element.outerHTML.slice(0, 80)}`);
      let level = 0;
      for (const heading of all("h1, h2, h3, h4, h5, h6")) {
        const own = Number(heading.tagName[1]);
        if (own > level + 1) found.push(`h${own} after h${level}: ${heading.textContent}`);
        level = own;
      }
      for (const table of all("table")) {
        if (table.querySelector("caption")?.textContent?.trim() === "") found.push("a table without caption");
        for (const th of table.querySelectorAll("th"))
          if (!th.hasAttribute("scope")) found.push(`no scope: ${th.textContent}`);
      }
      for (const figure of all("figure"))
        if (figure.querySelector("figcaption") === null) found.push("a figure without caption");
      const ids = all("[id]").map(({ id }) => id);
      for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`two elements #${id}`);
      for (const landmark of ["header", "nav", "main", "footer"])
        if (all(landmark).length === 0) found.push(`no ${landmark}`);
      if (document.documentElement.lang !== "en") found.push("no language");
      return found;
    });
    expect(faults).toEqual([]);
  });
});
