/** Stores, models and SAEs sent to a server that speaks the hub's protocol, and taken from there again. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { AnalysisStore, analyzeDataset } from "../src/analysis/index.ts";
import { datasetOf } from "../src/data/index.ts";
import { hubUpload, type UploadOptions } from "../src/formats/index.ts";
import { InterpretuneError } from "../src/graph/errors.ts";
import { HookedModel } from "../src/model/index.ts";
import { Sae } from "../src/sae/index.ts";
import { cli } from "./support/cli.ts";
import { hubFixture, newFolder, noise, type HubFixture } from "./support/hubFixture.ts";
import { randomModel, randomRows, randomSae, shapes } from "./support/random.ts";
import { failure } from "./support/failure.ts";

const golden = (path: string): string => fileURLToPath(new URL(`goldens/${path}`, import.meta.url));
const token = "hf_write-s3cret";
const prompt = [[5, 6, 7, 8, 9, 10]];

async function fixture(): Promise<HubFixture & { upload: UploadOptions }> {
  const made = await hubFixture();
  const { endpoint, retryDelay, timeout } = made.options;
  return { ...made, upload: { endpoint, retryDelay, timeout, token, env: {} } };
}

async function refusal(work: Promise<unknown>): Promise<InterpretuneError> {
  const error = await failure(InterpretuneError, work);
  expect(JSON.stringify([String(error), error])).not.toContain("s3cret");
  return error;
}

/** Requests that carry large files. */
const carried = (hub: HubFixture["hub"]): string[] => hub.recent().filter((line) => line.startsWith("cdn PUT"));

describe("a model", () => {
  test("is loaded by its id, with the same logits; nothing is sent twice", async () => {
    const { hub, options, upload } = await fixture();
    const plans: number[] = [];
    const seen: number[] = [];
    const done = await hubUpload({ type: "model", repo: "me/tiny" }, golden("families/gpt2"), {
      ...upload,
      onPlan: ({ totalBytes }) => plans.push(totalBytes),
      onProgress: (bytes) => seen.push(bytes),
    });
    expect(done).toMatchObject({ url: `${hub.endpoint}/me/tiny`, totalBytes: plans[0]! });
    expect(seen.at(-1)).toBe(plans[0]);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(carried(hub).length).toBeGreaterThan(0);
    const local = await (await HookedModel.load(golden("families/gpt2"))).run(prompt);
    const loaded = await HookedModel.load(`me/tiny@${done.commit}`, { hub: options });
    expect((await loaded.run(prompt)).data).toEqual(local.data);

    hub.recent();
    await hubUpload({ type: "model", repo: "me/tiny" }, golden("families/gpt2"), upload);
    expect(carried(hub)).toEqual([]);
  });

  test("goes in parts where the hub wants that, and to a branch; a token goes to nobody but the hub", async () => {
    const { hub, options, upload } = await fixture();
    hub.partSize = 50_000;
    await hubUpload({ type: "model", repo: "me/parts" }, golden("families/gpt2"), { ...upload, visibility: "private" });
    expect(carried(hub).length).toBeGreaterThan(2);
    for (const { server, authorization } of hub.requests)
      expect(authorization).toBe(server === "cdn" ? undefined : `Bearer ${token}`);
    await refusal(HookedModel.load("me/parts", { hub: options })); // private
    const loaded = await HookedModel.load("me/parts", { hub: { ...options, token } });
    const local = await (await HookedModel.load(golden("families/gpt2"))).run(prompt);
    expect((await loaded.run(prompt)).data).toEqual(local.data);
  });
});

test("an SAE is loaded by its id", async () => {
  const { options, upload } = await fixture();
  const sae = randomSae(randomModel(shapes["gpt2"]!, 1), "blocks.1.attn.hook_z", "standard", 24, 3);
  const folder = join(newFolder(), "blocks.1.attn.hook_z");
  await sae.save(folder);
  await hubUpload({ type: "model", repo: "me/sae" }, folder, upload);
  const loaded = await Sae.load("me/sae", { hub: options });
  expect(loaded.cfg).toMatchObject({ d_sae: 24, architecture: "standard" });
  expect(loaded.hookName).toBe("blocks.1.attn.hook_z");
});

test("a store is a data set: pushed by the command line, pulled whole, brought up to date", async () => {
  const { hub, options } = await fixture();
  const model = randomModel(shapes["gpt2"]!, 2);
  const values = randomRows([5, 6, 4], 30, 1).map((ids, i) => ({
    value: { input_ids: ids, label: i % 2 },
    where: `${i}`,
  }));
  const data = await datasetOf(() => values, { name: "rows", length: 3 });
  const out = join(newFolder(), "run");
  await analyzeDataset({ model, data, answers: [2, 3], analyses: ["logit_diffs_base"], batchSize: 2, out });
  const env = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: token };
  const pushed = await cli(["push", out, "me/run", "--title", "Three rows", "--license", "mit", "--json"], { env });
  expect(pushed).toMatchObject({ code: 0 });
  expect(JSON.parse(pushed.stdout)).toMatchObject({ url: `${hub.endpoint}/datasets/me/run` });
  const card = hub.find("dataset", "me/run")!.files["README.md"] as Buffer;
  expect(card.toString()).toMatch(/license: mit[^]*# Three rows/);

  const [local, pulled] = [await AnalysisStore.open(out), await AnalysisStore.pull("me/run", options)];
  expect(pulled.manifest).toEqual(local.manifest);
  expect(await pulled.load("logit_diffs_base")).toEqual(await local.load("logit_diffs_base"));
  await local.upload("me/run", { endpoint: hub.endpoint, token, env: {} });
  expect((await AnalysisStore.pull("me/run", options)).names).toEqual(["logit_diffs_base"]);
});

describe("what goes wrong", () => {
  const ref = { type: "model", repo: "me/x" } as const;
  test.each<[string, UploadOptions, RegExp]>([
    ["no token", { token: "" }, /token that may write.*HF_TOKEN/s],
    ["a token that may read only", { token: "hf_read-s3cret" }, /denies access/],
    ["a token that is none", { token: "s3cret" }, /no token of the hub.*begins with hf_/s],
    ["a token that the hub does not know", { token: "hf_unknown-s3cret" }, /does not know this token/],
    ["no hub", { env: { HF_HUB_OFFLINE: "1" } }, /unset HF_HUB_OFFLINE/],
    ["an endpoint where nobody listens", { endpoint: "http://127.0.0.1:9" }, /cannot be reached/],
  ])("%s", async (_, options, message) => {
    const { hub, upload } = await fixture();
    const error = await refusal(hubUpload(ref, golden("families/gpt2"), { ...upload, ...options }));
    expect(`${error.message}`).toMatch(message);
    expect(hub.find("model", "me/x")).toBeUndefined();
  });

  test("nothing to send, nobody's repository, hidden files", async () => {
    const { hub, upload } = await fixture();
    const folder = newFolder();
    writeFileSync(join(folder, ".env"), "s3cret");
    expect((await refusal(hubUpload(ref, folder, upload))).code).toBe("hub/empty");
    expect((await refusal(hubUpload(ref, join(folder, "none"), upload))).code).toBe("formats/io");
    expect((await refusal(hubUpload({ ...ref, repo: "gpt2" }, folder, upload))).code).toBe("hub/invalid-ref");
    writeFileSync(join(folder, "README.md"), "hello");
    await hubUpload(ref, folder, upload);
    expect(Object.keys(hub.find("model", "me/x")!.files)).toEqual(["README.md"]);
  });

  test("a hub that has trouble is asked again; a large file that does not arrive leaves the repository as it was", async () => {
    const { hub, upload } = await fixture();
    let faults = 2;
    hub.fault = ({ method }) => (method === "PUT" && faults-- > 0 ? { status: 503 } : undefined);
    await hubUpload(ref, golden("families/gpt2"), upload);
    expect(Object.keys(hub.find("model", "me/x")!.files)).toContain("model.safetensors");
    hub.fault = ({ method }) => (method === "PUT" ? { status: 400, body: "no" } : undefined);
    const other = newFolder();
    writeFileSync(join(other, "model.safetensors"), noise(5000));
    writeFileSync(join(other, "new.txt"), "new");
    await refusal(hubUpload(ref, other, upload));
    expect(Object.keys(hub.find("model", "me/x")!.files)).not.toContain("new.txt");
  });

  test("an abort ends it, before anything is a commit", async () => {
    const { hub, upload } = await fixture();
    const stop = new AbortController();
    hub.fault = ({ method }) => {
      if (method === "PUT") stop.abort(new Error("enough"));
      return undefined;
    };
    const aborted = hubUpload(ref, golden("families/gpt2"), { ...upload, signal: stop.signal });
    await expect(aborted).rejects.toThrow("enough");
    expect(Object.keys(hub.find("model", "me/x")!.files)).toEqual([]);
  });

  test("on the command line: a sentence, and no token in it", async () => {
    const { hub } = await fixture();
    const env = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: "hf_read-s3cret" };
    const refused = await cli(["push", golden("families/gpt2"), "me/x"], { env });
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/denies access/);
    expect(refused.stderr).not.toContain("s3cret");
    const wrong = await cli(["push", golden("families/gpt2"), "not an id"], { env });
    expect(wrong.stderr).toMatch(/owner\/name/);
    expect((await cli(["push", golden("families/gpt2"), "me/x", "--license", "mit"], { env })).stderr).toMatch(/card/);
  });
});
