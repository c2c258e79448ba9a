/** Transcoders against SAELens' values and against the same computed by hand inside a model. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { add, gradients, leaf, matmul, mul, relu, sum, type Tensor } from "../src/graph/index.ts";
import { memory, Runtime } from "../src/runtime/index.ts";
import { Sae, Transcoder, type SaeArrays } from "../src/sae/index.ts";
import { randomModel, randomNumbers, randomSae, shapes } from "./support/random.ts";
import { goldenTensors, inputLeaf, relativeError, saeGoldens, type GoldenTensors } from "./support/saeGolden.ts";

const runtime = new Runtime({ threads: 1 });
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-transcoder-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What a golden holds, as expressions. */
function expressions(transcoder: Transcoder, golden: GoldenTensors): Record<string, Tensor> {
  const input = golden.get("input")!;
  const x = inputLeaf(input);
  const hooks: Record<string, Tensor> = {};
  const forward = transcoder.forward(x, { fire: (name, value) => (hooks[`hook.${name}`] = value) });
  const encode = transcoder.encode(x).acts;
  const even = Float32Array.from({ length: transcoder.dSae }, (_, i) => Number(i % 2 === 0));
  const { dims } = golden.get("forward")!;
  const size = dims.reduce((a, b) => a * b, 1);
  const weights = leaf(
    Float32Array.from({ length: size }, (_, i) => -1 + (2 * i) / (size - 1)),
    dims,
    { shape: forward.shape },
  );
  return {
    ...hooks,
    encode,
    forward,
    decode_of_encode: transcoder.decode(encode),
    decode_even_latents: transcoder.decode(mul(encode, leaf(even, [transcoder.dSae]))),
    input_grad: gradients(sum(mul(forward, weights)), [x])[0]!,
  };
}

async function matches(transcoder: Transcoder, golden: GoldenTensors): Promise<void> {
  const wanted = [...golden.keys()].filter((name) => name !== "input" && !name.startsWith("weight."));
  const all = expressions(transcoder, golden);
  const found = await runtime.realize(Object.fromEntries(wanted.map((name) => [name, all[name]!])));
  for (const name of wanted) {
    const { dims, data } = golden.get(name)!;
    expect(found[name]!.dims, name).toEqual(dims);
    if (name === "input_grad") expect(relativeError(found[name]!.toArray(), data), name).toBeLessThan(1e-4);
    else expect(found[name]!.toArray(), name).toBeAllClose(data);
  }
}

describe("SAELens' transcoders", () => {
  const names = readdirSync(saeGoldens("transcoders")).filter((name) => name !== "foreign");
  it.each(names)("%s: every value inside, and its files back again", async (name) => {
    const held = (): number => memory.entries().filter(({ kind }) => kind === "Transcoder").length;
    const before = held();
    const transcoder = await Transcoder.load(saeGoldens(`transcoders/${name}`));
    expect([transcoder.hookName, transcoder.hookNameOut]).toEqual([
      "blocks.1.ln2.hook_normalized",
      "blocks.1.hook_mlp_out",
    ]);
    await matches(transcoder, await goldenTensors(saeGoldens(`transcoders/${name}/golden.safetensors`)));
    const saved = join(folder, name);
    await transcoder.save(saved);
    const read = (at: string): unknown => JSON.parse(readFileSync(join(at, "cfg.json"), "utf8"));
    expect(read(saved)).toEqual(read(saeGoldens(`transcoders/${name}`)));
    expect(await goldenTensors(join(saved, "sae_weights.safetensors"))).toEqual(
      await goldenTensors(saeGoldens(`transcoders/${name}/sae_weights.safetensors`)),
    );
    transcoder.dispose();
    expect(held()).toBe(before);
  });

  it("of Gemma Scope read the MLP's input and stand for its output", async () => {
    const at = saeGoldens("transcoders/foreign/npz-transcoder");
    const path = `${at}/source/layer_3/width_16k/average_l0_8`;
    const transcoder = await Transcoder.load(path, { hookName: "blocks.3.ln2.hook_normalized" });
    const { config } = JSON.parse(readFileSync(`${at}/golden.json`, "utf8")) as {
      config: { architecture: string; metadata: { hook_name_out: string } };
    };
    expect([transcoder.cfg.architecture, transcoder.hookNameOut]).toEqual([
      config.architecture,
      config.metadata.hook_name_out,
    ]);
    await matches(transcoder, await goldenTensors(`${at}/golden.safetensors`));
  });
});

const [d, latents] = [16, 24];
const hookName = "blocks.1.ln2.hook_normalized";
const hookNameOut = "blocks.1.hook_mlp_out";
const model = randomModel(shapes["gpt2"]!, 4);
const rows = [
  [5, 6, 7, 8],
  [3, 9, 2, 4],
];

function arraysOf(seed: number, [dIn, dOut] = [d, d]): SaeArrays {
  const random = randomNumbers(seed);
  const array = (...dims: number[]) => ({
    dims,
    data: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => 0.4 * random()),
  });
  return {
    W_enc: array(dIn, latents),
    b_enc: array(latents),
    W_dec: array(latents, dOut),
    b_dec: array(dOut),
    W_skip: array(dOut, dIn),
  };
}
const config = {
  architecture: "skip_transcoder",
  d_in: d,
  d_sae: latents,
  metadata: { hook_name: hookName, hook_name_out: hookNameOut },
};

describe("a transcoder in a model", () => {
  const arrays = arraysOf(2);
  const transcoder = Transcoder.fromParams(config, arrays);
  const w = Object.fromEntries(Object.entries(arrays).map(([name, { data, dims }]) => [name, leaf(data, dims)]));
  /** The published formula, put in by hand. */
  const direct = (x: Tensor): Tensor =>
    add(
      add(matmul(relu(add(matmul(x, w["W_enc"]!), w["b_enc"]!)), w["W_dec"]!), w["b_dec"]!),
      matmul(x, w["W_skip"]!, { transposeB: true }),
    );
  const clean = () => model.runWithCache(rows, { names: [hookName, hookNameOut] });

  it("stands for the output at its second hook point, computed from the first", async () => {
    const { cache } = await clean();
    const expected = await runtime.realize(direct(cache.get(hookName)));
    const byHand = await model.run(rows, { hooks: [[hookNameOut, () => expected]] });
    const spliced = await model.splice([transcoder]).runWithCache(rows, { names: ["*.hook_sae_*", hookName] });
    expect(spliced.logits.toArray()).toBeAllClose(byHand.toArray());
    expect((await model.run(rows)).toArray()).not.toBeAllClose(byHand.toArray());
    expect([...spliced.cache.names]).toEqual([
      hookName,
      ...["input", "acts_pre", "acts_post", "recons", "output"].map((name) => `${hookNameOut}.hook_sae_${name}`),
    ]);
    expect(spliced.cache.get(`${hookNameOut}.hook_sae_output`).toArray()).toBeAllClose(expected.toArray());
    expect(spliced.cache.get(`${hookNameOut}.hook_sae_input`).toArray()).toBeAllClose(cache.get(hookName).toArray());
  });

  it("with the error term changes nothing until a latent is changed, and then by its row of W_dec", async () => {
    const options = { useErrorTerm: true };
    const spliced = model.splice([transcoder], options);
    const plain = await model.run(rows);
    expect((await spliced.run(rows)).toArray()).toBeAllClose(plain.toArray());
    const { cache } = await clean();
    const post = `${hookNameOut}.hook_sae_acts_post`;
    const acts = await runtime.realize(transcoder.encode(cache.get(hookName)).acts);
    const without = await runtime.realize(add(cache.get(hookNameOut), mul(matmul(acts, w["W_dec"]!), -1)));
    const byHand = await model.run(rows, { hooks: [[hookNameOut, () => without]] });
    const zeroed = await model.run(rows, { splices: spliced.splices, hooks: [[post, (value) => mul(value, 0)]] });
    expect(zeroed.toArray()).toBeAllClose(byHand.toArray());
    const { cache: inner } = await spliced.runWithCache(rows, { names: `${hookNameOut}.hook_sae_error` });
    const miss = await runtime.realize(add(cache.get(hookNameOut), mul(direct(cache.get(hookName)), -1)));
    expect(inner.get(`${hookNameOut}.hook_sae_error`).toArray()).toBeAllClose(miss.toArray());
  });

  it("hears hooks at the point it reads, also what an SAE puts there", async () => {
    const doubled = await model.splice([transcoder]).run(rows, { hooks: [[hookName, (value) => mul(value, 2)]] });
    const { cache } = await clean();
    const expected = await runtime.realize(direct(mul(cache.get(hookName), 2)));
    expect(doubled.toArray()).toBeAllClose(
      (await model.run(rows, { hooks: [[hookNameOut, () => expected]] })).toArray(),
    );
    const sae: Sae = randomSae(model, hookName, "standard", 32, 7);
    const both = await model.splice([sae, transcoder]).run(rows);
    const after = await runtime.realize(direct(sae.forward(cache.get(hookName))));
    expect(both.toArray()).toBeAllClose((await model.run(rows, { hooks: [[hookNameOut, () => after]] })).toArray());
  });

  it("passes gradients to what it reads; the error term only where it is told to", async () => {
    const metric = ({ logits }: { logits: Tensor }): Tensor => sum(mul(logits, logits));
    const slopes = async (options: object): Promise<number[]> => {
      const spliced = model.splice([transcoder], options);
      return (await spliced.gradients(rows, metric, { names: hookName })).hooks[hookName]!.toArray();
    };
    // By hand: the whole model, whose own MLP is replaced by the formula, or differentiated as it is.
    const own = (await model.gradients(rows, metric, { names: hookName })).hooks[hookName]!.toArray();
    expect(await slopes({ useErrorTerm: true, gradientThroughError: true })).toBeAllClose(own, 1e-3);
    expect(await slopes({ useErrorTerm: true })).not.toBeAllClose(own, 1e-3);
    expect((await slopes({})).some((x) => x !== 0)).toBe(true);
  });

  it("may read and stand for heads, of other widths", async () => {
    const heads = { hook_name: "blocks.0.attn.hook_z", hook_name_out: "blocks.1.mlp.hook_post" };
    const wide = Transcoder.fromParams({ ...config, d_out: 24, metadata: heads }, arraysOf(3, [16, 24]));
    expect((await model.splice([wide]).run(rows)).dims).toEqual((await model.run(rows)).dims);
    const back = { hook_name: "blocks.1.hook_resid_pre", hook_name_out: "blocks.1.attn.hook_z" };
    const toHeads = Transcoder.fromParams({ ...config, metadata: back }, arraysOf(5));
    const { cache } = await model.splice([toHeads]).runWithCache(rows, { names: "*.hook_sae_output" });
    expect(cache.get("blocks.1.attn.hook_z.hook_sae_output").dims).toEqual([2, 4, 4, 4]);
  });

  it("says what is wrong", async () => {
    const made = (more: object, given: SaeArrays = arrays) =>
      Transcoder.fromParams({ ...config, ...more }, given, "here");
    const at = (hook_name: string, hook_name_out: string) => made({ metadata: { hook_name, hook_name_out } });
    expect(() => made({ architecture: "standard" })).toThrow("this is no transcoder; in here");
    expect(() => made({ architecture: "transcoder" })).toThrow("a transcoder has no such tensor");
    expect(() => made({ architecture: "jumprelu_skip_transcoder" })).toThrow(
      "lacks a tensor; in here; expected threshold",
    );
    expect(() => made({ d_out: 8 })).toThrow("tensor W_dec");
    expect(() => made({ apply_b_dec_to_input: true })).toThrow("apply_b_dec_to_input");
    expect(() => made({ metadata: {} }).hookNameOut).toThrow("does not say where it belongs");
    await expect(model.splice([at(hookNameOut, hookName)]).run(rows)).rejects.toThrow(
      `the splice at ${hookName} reads ${hookNameOut}, which this pass does not reach before it`,
    );
    await expect(model.splice([at("blocks.1.ln2.hook_normal", hookNameOut)]).run(rows)).rejects.toThrow(
      "nearest names",
    );
    await expect(model.splice([at("blocks.1.mlp.hook_post", hookNameOut)]).run(rows)).rejects.toThrow("does not fit");
    await expect(model.splice([at(hookName, "blocks.1.mlp.hook_post")]).run(rows)).rejects.toThrow("does not fit");
    expect(() => model.splice([transcoder, made({})])).toThrow("share a hook point");
    await expect(Sae.load(saeGoldens("transcoders/transcoder"))).rejects.toThrow("Transcoder.load");
  });
});
