import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  equal,
  gradients,
  leaf,
  mul,
  range,
  reshape,
  sub,
  sum,
  takeRows,
  where,
  type Tensor,
} from "../src/graph/index.ts";
import { numberToBfloat16, numberToFloat16 } from "../src/graph/dtype.ts";
import { writeSafetensors } from "../src/formats/index.ts";
import { Trace } from "../src/model/hooks/trace.ts";
import { memory, reference, Runtime } from "../src/runtime/index.ts";
import { Sae, SaeError, saeHookNames, spliceHooks, type SaeFire, type SaeForwardOptions } from "../src/sae/index.ts";
import { cases, goldenTensors, inputLeaf, relativeError, saeGoldens, type GoldenTensors } from "./support/saeGolden.ts";
import { describeWithShared, readJson, shared } from "./support/shared.ts";

const runtimes = [new Runtime({ backend: reference }), new Runtime({ threads: 1 })];
afterAll(async () => {
  for (const runtime of runtimes) await runtime.dispose();
});

/** Numbers `0 … 1` along the last axis as a mask of every `step`-th latent. */
const everyNth = (size: number, step: number): Tensor =>
  leaf(
    Uint8Array.from({ length: size }, (_, i) => Number(i % step === 0)),
    [size],
    { dtype: "bool" },
  );

/** Σ out · linspace(−1, 1) over the flattened output. */
function weighted(out: Tensor, dims: readonly number[]): Tensor {
  const size = dims.reduce((a, b) => a * b, 1);
  const weights = Float32Array.from({ length: size }, (_, i) => -1 + (2 * i) / (size - 1));
  return sum(mul(out, leaf(weights, dims, { shape: out.shape })));
}

const recording = (values: Map<string, Tensor>, replace: SaeFire = (_name, value) => value): SaeFire => {
  return (name, value) => {
    const used = replace(name, value);
    values.set(name, used);
    return used;
  };
};

/** Everything a native golden holds, as expressions. */
function goldenExpressions(sae: Sae, golden: GoldenTensors, options: SaeForwardOptions): Map<string, Tensor> {
  const input = golden.get("input")!;
  const x = inputLeaf(input, sae.cfg.reshape_activations === "hook_z" ? 2 : 1);
  const out = new Map<string, Tensor>();
  const { acts, context } = sae.encode(x);
  out.set("encode", acts);
  const hooks = new Map<string, Tensor>();
  out.set("forward", sae.forward(x, { ...options, fire: recording(hooks) }));
  for (const [name, value] of hooks) out.set(`hook.${name}`, value);
  out.set("decode_of_encode", sae.decode(acts, context, options));
  out.set("decode_even_latents", sae.decode(where(everyNth(sae.dSae, 2), acts, 0), context, options));

  const withError = new Map<string, Tensor>();
  out.set("forward_with_error", sae.forward(x, { ...options, useErrorTerm: true, fire: recording(withError) }));
  for (const [name, value] of withError) out.set(`hook_with_error.${name}`, value);
  const edited: SaeFire = (name, value) =>
    name === "hook_sae_acts_post" ? where(everyNth(sae.dSae, 3), 0, value) : value;
  out.set("forward_with_error_latents_mod3_zeroed", sae.forward(x, { ...options, useErrorTerm: true, fire: edited }));
  out.set("input_grad", gradients(weighted(out.get("forward")!, input.dims), [x])[0]!);
  return out;
}

async function matchesGolden(
  runtime: Runtime,
  sae: Sae,
  golden: GoldenTensors,
  options: SaeForwardOptions,
): Promise<void> {
  const expressions = goldenExpressions(sae, golden, options);
  const wanted = Object.fromEntries([...expressions].filter(([name]) => golden.has(name)));
  const missing = [...golden.keys()].filter((name) => name !== "input" && !(name in wanted));
  expect(missing).toEqual([]);
  const values = await runtime.realize(wanted);
  for (const [name, value] of Object.entries(values)) {
    const { dims, data } = golden.get(name)!;
    expect(value.dims, name).toEqual(dims);
    if (name === "input_grad") expect(relativeError(value.toArray(), data), name).toBeLessThan(1e-4);
    else expect(value.toArray(), name).toBeAllClose(data);
  }
}

describe("SAELens files, every value inside", () => {
  for (const name of cases("native"))
    for (const runtime of runtimes)
      it(`${name} on ${runtime.backend.name}`, async () => {
        const sae = await Sae.load(saeGoldens(`native/${name}`));
        const golden = await goldenTensors(saeGoldens(`native/${name}/golden.safetensors`));
        await matchesGolden(runtime, sae, golden, { sparseDecode: "never" });
        if (sae.cfg.architecture === "topk") await matchesGolden(runtime, sae, golden, { sparseDecode: "always" });
        sae.dispose();
      });
});

/** encode and forward against a golden that holds no more. */
async function encodesLike(sae: Sae, golden: GoldenTensors, names: { encode: string; forward: string }): Promise<void> {
  const x = inputLeaf(golden.get("input")!, sae.cfg.reshape_activations === "hook_z" ? 2 : 1);
  const { encode, forward } = await runtimes[1]!.realize({ encode: sae.encode(x).acts, forward: sae.forward(x) });
  expect(encode.toArray()).toBeAllClose(golden.get(names.encode)!.data);
  expect(forward.toArray()).toBeAllClose(golden.get(names.forward)!.data);
}
const plain = { encode: "encode", forward: "forward" };

describe("constants folded into the weights", () => {
  const folded = cases("native").filter((name) => cases(`native/${name}`).includes("decoder_norm_folded"));
  it.each(folded)("decoder norms of %s", async (name) => {
    const sae = (await Sae.load(saeGoldens(`native/${name}`))).foldWDecNorm();
    await encodesLike(
      sae,
      await goldenTensors(saeGoldens(`native/${name}/decoder_norm_folded/golden.safetensors`)),
      plain,
    );
    const norms = await runtimes[0]!.realize(sum(mul(sae.params.W_dec, sae.params.W_dec), 1));
    expect(norms.toArray()).toBeAllClose(new Array<number>(sae.dSae).fill(1), 1e-5);
  });

  it.each(["topk", "topk-layer-norm"])("decoder norms of %s cannot be folded", async (name) => {
    expect(folded).not.toContain(name);
    const sae = await Sae.load(saeGoldens(`native/${name}`));
    expect(() => sae.foldWDecNorm()).toThrow(/would change which latents win/);
  });

  it("the expected norm of activations", async () => {
    const folder = saeGoldens("native/standard-expected-norm");
    const { scaling_factor } = readJson<{ scaling_factor: number }>(`${folder}/unfolded/scaling.json`);
    const unfolded = await Sae.load(`${folder}/unfolded`);
    await matchesGolden(runtimes[1]!, unfolded, await goldenTensors(`${folder}/unfolded/golden.safetensors`), {});
    const sae = unfolded.foldActivationScale(scaling_factor);
    expect(sae.cfg.normalize_activations).toBe("none");
    await encodesLike(sae, await goldenTensors(`${folder}/golden.safetensors`), plain);
  });
});

describe("training and inference forms of one SAE", () => {
  const inference = { encode: "inference_encode", forward: "inference_forward" };
  for (const name of cases("trained"))
    for (const form of ["training", "inference"])
      it(`${name}, ${form} form`, async () => {
        const sae = await Sae.load(saeGoldens(`trained/${name}/${form}`));
        const golden = await goldenTensors(saeGoldens(`trained/${name}/golden.safetensors`));
        const [first, last] = [golden.get("train_encode")!.data, golden.get("inference_encode")!.data];
        const batched = name.includes("batchtopk");
        // Batch top-k compares tokens while it trains, and uses the threshold it has learnt afterwards.
        expect(first.some((v, i) => Math.abs(v - last[i]!) > 1e-3)).toBe(batched);
        await encodesLike(sae, golden, inference);
        if (batched) expect(sae.cfg.architecture).toBe("jumprelu");
      });
});

interface Foreign {
  config: { architecture: string; metadata: Record<string, unknown> } & Record<string, unknown>;
}

describe("older SAELens configurations and Gemma Scope archives", () => {
  it.each(cases("foreign").filter((name) => name.startsWith("legacy-")))("%s", async (name) => {
    const sae = await Sae.load(saeGoldens(`foreign/${name}/source`));
    await checkForeign(sae, name);
  });

  const archives: Record<string, [string, string]> = {
    "npz-resid": ["layer_4/width_16k/average_l0_20", "blocks.4.hook_resid_post"],
    "npz-attn": ["layer_7/width_16k/average_l0_31", "blocks.7.attn.hook_z"],
    "npz-mlp": ["layer_11/width_65k/average_l0_9", "blocks.11.hook_mlp_out"],
    "npz-embedding": ["embedding/width_4k/average_l0_6", "hook_embed"],
  };
  it.each(Object.entries(archives))("%s", async (name, [path, hookName]) => {
    const sae = await Sae.load(saeGoldens(`foreign/${name}/source/${path}`), { hookName });
    expect(sae.hookName).toBe(hookName);
    await checkForeign(sae, name);
  });

  it("a PyTorch file with its configuration beside it: torch-pickle-hook-z", async () => {
    const file = saeGoldens("foreign/torch-pickle-hook-z/source/tiny_L3_Hcat_z_lr1.20e-03_v9.pt");
    const sae = await Sae.load(file);
    expect(sae.hookName).toBe("blocks.3.attn.hook_z");
    await checkForeign(sae, "torch-pickle-hook-z");
    await expect(Sae.load(saeGoldens("../torch/types.pt"))).rejects.toThrow(
      /no such file.*types_cfg\.json|types_cfg\.json.*no such file/s,
    );
  });

  async function checkForeign(sae: Sae, name: string): Promise<void> {
    const { config } = readJson<Foreign>(saeGoldens(`foreign/${name}/golden.json`));
    const { sae_lens_version: _, model_name: __, dataset_path: ___, ...metadata } = config.metadata;
    const present = Object.fromEntries(Object.entries(metadata).filter(([, value]) => value !== null));
    expect(sae.cfg).toMatchObject({
      ...config,
      dtype: String(config["dtype"]).replace("torch.", ""),
      metadata: present,
    });
    const golden = await goldenTensors(saeGoldens(`foreign/${name}/golden.safetensors`));
    const params = await runtimes[0]!.realize({ ...sae.params });
    for (const [param, value] of Object.entries(params))
      expect(relativeError(value.toArray(), golden.get(`weight.${param}`)!.data), param).toBeLessThan(1e-6);
    await encodesLike(sae, golden, plain);
  }

  it("finds the hook point of a Gemma Scope archive in its path, or asks for it", async () => {
    const { mkdir, copyFile } = await import("node:fs/promises");
    const root = await mkdtemp(join(tmpdir(), "sae-"));
    const source = saeGoldens("foreign/npz-attn/source/layer_7/width_16k/average_l0_31");
    const folder = join(root, "gemma-scope-2b-pt-att/layer_7/width_16k/average_l0_31");
    await mkdir(folder, { recursive: true });
    await copyFile(join(source, "params.npz"), join(folder, "params.npz"));
    expect((await Sae.load(folder)).hookName).toBe("blocks.7.attn.hook_z");
    await rm(root, { recursive: true });
    await expect(Sae.load(source)).rejects.toThrow(/does not say where the SAE hooks in.*pass hookName/);
  });
});

describe("splicing", () => {
  const load = (name: string): Promise<Sae> => Sae.load(saeGoldens(`native/${name}`));

  it("fires every inner point under the hook point's name, once", async () => {
    const sae = await load("standard-hook-z");
    const golden = await goldenTensors(saeGoldens("native/standard-hook-z/golden.safetensors"));
    const trace = new Trace({ splices: spliceHooks([sae], { useErrorTerm: true }), capture: "*hook_sae*" });
    const name = "blocks.1.attn.hook_z";
    const out = trace.fire(name, inputLeaf(golden.get("input")!, 2));
    trace.finish();
    expect([...trace.captured.keys()]).toEqual(saeHookNames.map((inner) => `${name}.${inner}`));
    expect(trace.names).not.toContain(name);
    expect(out).toBe(trace.captured.get(`${name}.hook_sae_output`));
    expect((await runtimes[1]!.realize(out)).toArray()).toBeAllClose(golden.get("forward_with_error")!.data);
  });

  it("refuses two SAEs at one hook point and an SAE of the wrong width, and names both widths", async () => {
    const sae = await load("standard");
    expect(() => spliceHooks([sae, sae])).toThrow(/two SAEs share a hook point.*blocks\.1\.hook_resid_pre/);
    const trace = new Trace({ splices: spliceHooks([sae]) });
    const wide = leaf(new Float32Array(64), [1, 2, 32]);
    expect(() => trace.fire("blocks.1.hook_resid_pre", wide)).toThrow(
      /does not fit.*blocks\.1\.hook_resid_pre.*24.*\[1, 2, 32\]/,
    );
  });

  it("keeps SAEs of different widths side by side", async () => {
    const [narrow, other] = [await load("standard"), await load("standard-hook-z")];
    const input = (await goldenTensors(saeGoldens("native/standard/golden.safetensors"))).get("input")!;
    const trace = new Trace({ splices: spliceHooks([narrow, other]), capture: "*" });
    const first = trace.fire("blocks.1.hook_resid_pre", inputLeaf(input));
    trace.fire("blocks.1.attn.hook_z", reshape(first, [...first.shape.slice(0, 2), 4, 6]));
    trace.finish();
    const values = await runtimes[1]!.realize(Object.fromEntries(trace.captured));
    expect(values["blocks.1.attn.hook_z.hook_sae_output"]!.dims).toEqual([2, 6, 4, 6]);
  });
});

describe("gradients at a splice", () => {
  const run = async (name: string, options: SaeForwardOptions) => {
    const sae = await Sae.load(saeGoldens(`native/${name}`));
    const golden = await goldenTensors(saeGoldens(`native/${name}/golden.safetensors`));
    const input = golden.get("input")!;
    const x = inputLeaf(input);
    const hooks = new Map<string, Tensor>();
    const out = sae.forward(x, { ...options, fire: recording(hooks) });
    const [dx, dActs, dPre] = gradients(weighted(out, input.dims), [
      x,
      hooks.get("hook_sae_acts_post")!,
      hooks.get("hook_sae_acts_pre")!,
    ]);
    const values = await runtimes[1]!.realize({ dx: dx!, dActs: dActs!, dPre: dPre!, W: sae.params.W_dec });
    const size = input.data.length;
    const weights = Float64Array.from({ length: size }, (_, i) => -1 + (2 * i) / (size - 1));
    const W = values.W.toArray();
    const expectedActs = Array.from({ length: (size / sae.dIn) * sae.dSae }, (_, i) => {
      const [token, latent] = [Math.floor(i / sae.dSae), i % sae.dSae];
      let total = 0;
      for (let d = 0; d < sae.dIn; d++) total += W[latent * sae.dIn + d]! * weights[token * sae.dIn + d]!;
      return total;
    });
    return { values, weights, expectedActs, golden };
  };

  it.each([
    ["standard", {}],
    ["topk", { sparseDecode: "always" }],
    ["topk", { sparseDecode: "always", useErrorTerm: true }],
    ["jumprelu", { useErrorTerm: true }],
  ] as const)("reach every latent, active or not: %s %o", async (name, options) => {
    const { values, expectedActs, golden } = await run(name, options);
    expect(values.dActs.toArray()).toBeAllClose(expectedActs, 1e-5);
    // The error is a constant: the input's gradient is the same with and without it.
    expect(relativeError(values.dx.toArray(), golden.get("input_grad")!.data)).toBeLessThan(1e-4);
  });

  it.each(["standard", "topk"])("pass through the error term when asked: %s", async (name) => {
    const options = { useErrorTerm: true, gradientThroughError: true };
    const { values, weights, expectedActs } = await run(name, options);
    expect(values.dx.toArray()).toBeAllClose(weights, 1e-5);
    expect(values.dActs.toArray()).toBeAllClose(expectedActs, 1e-5);
    const without = await run(name, {});
    expect(values.dPre.toArray()).toBeAllClose(without.values.dPre.toArray(), 1e-5);
  });
});

describe("sparse decode", () => {
  it("is not used once somebody replaced the latents", async () => {
    const sae = await Sae.load(saeGoldens("native/topk-rescaled"));
    const golden = await goldenTensors(saeGoldens("native/topk-rescaled/golden.safetensors"));
    const x = inputLeaf(golden.get("input")!);
    // Switch on a latent that top-k did not choose anywhere: only a dense product can see it.
    const chosen = golden.get("encode")!.data;
    const free = Array.from({ length: sae.dSae }, (_, i) => i).find((i) =>
      chosen.every((v, at) => at % sae.dSae !== i || v === 0),
    )!;
    const fire: SaeFire = (name, value) =>
      name === "hook_sae_acts_post"
        ? where(equal(range(sae.dSae), leaf(BigInt64Array.of(BigInt(free)), [1])), 2, value)
        : value;
    const sparse = sae.forward(x, { fire, sparseDecode: "always" });
    const {
      sparse: a,
      dense: b,
      clean,
    } = await runtimes[1]!.realize({
      sparse,
      dense: sae.forward(x, { fire, sparseDecode: "never" }),
      clean: sae.forward(x),
    });
    expect(a.toArray()).toBeAllClose(b.toArray(), 1e-5);
    expect(relativeError(a.toArray(), clean.toArray())).toBeGreaterThan(1e-2);
  });

  it("has the derivatives of the dense product, also where one position is asked for", async () => {
    const sae = await Sae.load(saeGoldens("native/topk-rescaled"));
    const input = (await goldenTensors(saeGoldens("native/topk-rescaled/golden.safetensors"))).get("input")!;
    const x = inputLeaf(input);
    const index = leaf(BigInt64Array.of(5n, 2n), [2, 1], { shape: [x.shape[0]!, 1] });
    const derivatives = (sparseDecode: "always" | "never"): Tensor[] => {
      const hooks = new Map<string, Tensor>();
      const out = takeRows(sae.forward(x, { sparseDecode, fire: recording(hooks) }), index); // [batch, 1, d_in]
      return gradients(sum(mul(out, out)), [x, hooks.get("hook_sae_acts_post")!]);
    };
    const [always, never] = await runtimes[1]!.realize([derivatives("always"), derivatives("never")]);
    for (const i of [0, 1]) {
      expect(always[i]!.dims).toEqual(i === 0 ? input.dims : [2, 6, sae.dSae]);
      expect(relativeError(always[i]!.toArray(), never[i]!.toArray())).toBeLessThan(1e-5);
    }
  });

  it("does not compute the dense product", async () => {
    const dims = { dIn: 8, dSae: 4096 };
    const random = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898) * 0.5);
    const sae = Sae.fromParams(
      { architecture: "topk", k: 4, d_in: dims.dIn, d_sae: dims.dSae },
      {
        W_enc: { dims: [dims.dIn, dims.dSae], data: random(dims.dIn * dims.dSae) },
        W_dec: { dims: [dims.dSae, dims.dIn], data: random(dims.dIn * dims.dSae) },
        b_enc: { dims: [dims.dSae], data: new Float32Array(dims.dSae) },
        b_dec: { dims: [dims.dIn], data: new Float32Array(dims.dIn) },
      },
    );
    const x = leaf(random(16), [2, 8]);
    const products = async (sparseDecode: "auto" | "never"): Promise<number> => {
      let count = 0;
      const counting = new Runtime({
        backend: {
          ...reference,
          compile: (plan) => {
            const seen = new Set<Tensor>();
            const visit = (node: Tensor): void => {
              if (seen.has(node)) return;
              seen.add(node);
              if (node.op.name === "MatMul" && node.inputs[1]!.shape[0] === dims.dSae) count++;
              node.inputs.forEach(visit);
            };
            plan.outputs.forEach(visit);
            return reference.compile(plan);
          },
        },
      });
      await counting.realize(sae.forward(x, { sparseDecode }));
      return count;
    };
    expect(await products("never")).toBe(1);
    expect(await products("auto")).toBe(0);
  });
});

describe("exact ablation of single latents", () => {
  for (const name of cases("native"))
    it.each([false, true])(`${name}, error term %s`, async (useErrorTerm) => {
      const sae = await Sae.load(saeGoldens(`native/${name}`));
      const input = (await goldenTensors(saeGoldens(`native/${name}/golden.safetensors`))).get("input")!;
      const heads = sae.cfg.reshape_activations === "hook_z" ? 2 : 1;
      const x = inputLeaf(input, heads);
      const hooks = new Map<string, Tensor>();
      const output = sae.forward(x, { useErrorTerm, fire: recording(hooks) });
      const { acts } = await runtimes[1]!.realize({ acts: hooks.get("hook_sae_acts_post")! });
      const [rows, positions] = acts.dims as [number, number, number];
      const values = acts.toArray();
      // At every token the first two active latents.
      const pairs = Array.from({ length: rows * positions }, (_, token) =>
        Array.from({ length: sae.dSae }, (_, j) => j)
          .filter((j) => values[token * sae.dSae + j]! > 0)
          .slice(0, 2),
      );
      for (const nth of [0, 1]) {
        const chosen = pairs.map((list) => list[nth] ?? list[0] ?? 0);
        const latents = leaf(BigInt64Array.from(chosen, BigInt), [rows, positions], { shape: x.shape.slice(0, 2) });
        const activations = leaf(
          Float32Array.from(chosen, (j, token) => values[token * sae.dSae + j]!),
          [rows, positions],
          { shape: x.shape.slice(0, 2) },
        );
        const ablated = sae.ablate(output, { latents, activations, input: hooks.get("hook_sae_input")! });
        const off = Uint8Array.from({ length: values.length }, (_, i) =>
          Number(chosen[Math.floor(i / sae.dSae)] === i % sae.dSae),
        );
        const mask = leaf(off, acts.dims, { dtype: "bool", shape: hooks.get("hook_sae_acts_post")!.shape });
        const fire: SaeFire = (point, value) => (point === "hook_sae_acts_post" ? where(mask, 0, value) : value);
        const expected = sae.forward(x, { useErrorTerm, fire });
        const result = await runtimes[1]!.realize({ ablated, expected, change: sub(expected, output) });
        expect(result.ablated.dims).toEqual(result.expected.dims);
        expect(result.ablated.toArray()).toBeAllClose(result.expected.toArray(), 2e-5);
        expect(Math.max(...result.change.toArray().map(Math.abs))).toBeGreaterThan(1e-2);
      }
    });

  it("needs the input where it sets the scale", async () => {
    const sae = await Sae.load(saeGoldens("native/standard-layer-norm"));
    const latents = leaf(BigInt64Array.of(0n), [1, 1]);
    expect(() => sae.ablateDirection(latents)).toThrow(/depends on the input's scale/);
    expect(() => sae.decode(leaf(new Float32Array(72), [1, 72]))).toThrow(/without the input's scale/);
  });
});

describe("memory and files", () => {
  it("is in the ledger until it is disposed", async () => {
    const hookName = "blocks.7.hook_resid_pre";
    const sae = await Sae.load(saeGoldens("native/jumprelu"), { hookName });
    const held = () => memory.entries().filter((entry) => entry.owner === `sae ${hookName}`);
    expect(held().map((entry) => [entry.name, entry.bytes])).toEqual([
      ["W_dec", 4 * 24 * 72],
      ["W_enc", 4 * 24 * 72],
      ["b_enc", 4 * 72],
      ["threshold", 4 * 72],
      ["b_dec", 4 * 24],
    ]);
    sae.dispose();
    expect(held()).toEqual([]);
    expect(() => sae.params.W_enc.data).toThrow(/disposed/);
  });

  it.each(["topk-rescaled", "gated", "jumprelu-hook-z-layer-norm"])("saves what SAELens reads: %s", async (name) => {
    const folder = await mkdtemp(join(tmpdir(), "sae-"));
    const sae = await Sae.load(saeGoldens(`native/${name}`));
    await sae.save(folder);
    const written = JSON.parse(await readFile(join(folder, "cfg.json"), "utf8")) as Record<string, unknown>;
    const { metadata, ...original } = readJson<Record<string, unknown>>(saeGoldens(`native/${name}/cfg.json`));
    expect(written).toEqual({ ...original, metadata: expect.objectContaining({ hook_name: sae.hookName }) as unknown });
    expect(metadata).toBeDefined();
    const [ours, theirs] = await Promise.all(
      [join(folder, "sae_weights.safetensors"), saeGoldens(`native/${name}/sae_weights.safetensors`)].map(
        goldenTensors,
      ),
    );
    expect(ours).toEqual(theirs);
    await encodesLike(
      await Sae.load(folder),
      await goldenTensors(saeGoldens(`native/${name}/golden.safetensors`)),
      plain,
    );
    await rm(folder, { recursive: true });
  });

  it.each(["float16", "bfloat16"] as const)("reads %s weights as float32", async (dtype) => {
    const folder = await mkdtemp(join(tmpdir(), "sae-"));
    const source = saeGoldens("native/standard");
    const exact = await goldenTensors(join(source, "sae_weights.safetensors"));
    const narrow = [...exact].map(([name, { dims, data }]) => {
      const half = dtype === "float16" ? numberToFloat16 : numberToBfloat16;
      return [name, { dtype, shape: dims, data: Uint16Array.from(data, half) }] as const;
    });
    await writeSafetensors(join(folder, "sae_weights.safetensors"), Object.fromEntries(narrow));
    const cfg = readJson<object>(join(source, "cfg.json"));
    await writeFile(join(folder, "cfg.json"), JSON.stringify({ ...cfg, dtype }));
    const sae = await Sae.load(folder);
    for (const [name, { data }] of exact) {
      const error = relativeError(sae.params[name as keyof typeof sae.params]!.toArray(), data);
      expect(error, name).toBeLessThan(dtype === "float16" ? 2 ** -10 : 2 ** -7);
      expect(error, name).toBeGreaterThan(0);
    }
    await rm(folder, { recursive: true });
  });

  it("takes hookName over what the files say", async () => {
    const sae = await Sae.load(saeGoldens("native/standard"), { hookName: "blocks.0.hook_resid_pre" });
    expect(sae.hookName).toBe("blocks.0.hook_resid_pre");
  });

  it("says what is wrong with files and configurations", async () => {
    await expect(Sae.load(saeGoldens("native"))).rejects.toThrow(/there is no SAE at this path.*cfg\.json/);
    await expect(Sae.load(saeGoldens("nowhere"))).rejects.toThrow(/does not exist/);
    const zeros = (...dims: number[]) => ({ dims, data: new Float32Array(dims.reduce((a, b) => a * b, 1)) });
    const arrays = { W_enc: zeros(4, 8), W_dec: zeros(8, 4), b_enc: zeros(8), b_dec: zeros(4) };
    const config = { architecture: "standard", d_in: 4, d_sae: 8 } as const;
    const make = (c: object, a: Record<string, ReturnType<typeof zeros>>) => () => Sae.fromParams(c, a, "my.sae");
    expect(make({ ...config, architecture: "temporal" }, arrays)).toThrow(
      /architecture is not supported; in my\.sae; expected one of standard, gated, jumprelu, topk, batchtopk.*"temporal"/,
    );
    expect(make({ ...config, architecture: "topk" }, arrays)).toThrow(/needs k/);
    expect(make({ ...config, activation_fn_str: "tanh-relu" }, arrays)).toThrow(/activation function.*tanh-relu/);
    expect(make({ ...config, d_sae: "8" }, arrays)).toThrow(/d_sae/);
    expect(make([], arrays)).toThrow(/not an object; in my\.sae; got an array/);
    expect(make(config, { ...arrays, W_dec: zeros(4, 8) })).toThrow(
      /my\.sae, tensor W_dec; expected \[8, 4\]; got \[4, 8\]/,
    );
    expect(make({ ...config, architecture: "gated" }, arrays)).toThrow(/gated SAE lacks a tensor.*b_gate \[8\]/);
    expect(make(config, { ...arrays, threshold: zeros(8) })).toThrow(/no such tensor.*threshold/);
    expect(make({ ...config, hook_head_index: 3 }, arrays)).toThrow(/single attention head/);
    expect(() => Sae.fromParams(config, arrays).hookName).toThrow(SaeError);
    expect(make(config, arrays)).not.toThrow();
  });
});

describeWithShared("SAEs of SmolLM2", ["models/smollm2-135m-instruct"], () => {
  interface Report {
    hook: string;
    prompt0: { latents_per_position: number[][]; x: number[][]; xhat: number[][] };
  }
  it.each(["sae-resid_pre-11", "sae-hook_z-20"])("%s: float16 weights, latents and reconstruction", async (name) => {
    const folder = shared(`models/smollm2-135m-instruct/${name}`);
    const { hook, prompt0 } = readJson<Report>(join(folder, "golden.json"));
    const sae = await Sae.load(folder);
    expect(sae.hookName).toBe(hook);
    const positions = prompt0.x.length;
    const dims = sae.cfg.reshape_activations === "hook_z" ? [1, positions, 9, 64] : [1, positions, 576];
    const x = leaf(Float32Array.from(prompt0.x.flat()), dims);
    const { acts, output } = await runtimes[1]!.realize({ acts: sae.encode(x).acts, output: sae.forward(x) });
    const values = acts.toArray();
    prompt0.latents_per_position.forEach((latents, position) => {
      const row = values.slice(position * sae.dSae, (position + 1) * sae.dSae);
      const active = row.flatMap((v, j) => (v > 0 ? [j] : []));
      expect(active).toEqual(latents.map((l) => (Array.isArray(l) ? (l as number[])[0]! : l)).sort((a, b) => a - b));
    });
    const expected = prompt0.xhat.flat();
    expect(relativeError(output.toArray(), expected)).toBeLessThan(1e-5);
    sae.dispose();
  });
});

describeWithShared("the batch top-k SAE of list-comp-2L", ["models/list-comp-2L"], () => {
  it("reads its configuration from the file, centres its input, keeps what exceeds the threshold", async () => {
    const file = shared("models/list-comp-2L/sae_batchtopk_k3.safetensors");
    const golden = readJson<{
      resid_post_0: number[][][];
      sae_feature_acts_SEP: number[][];
      sae_recon_SEP_centred: number[][];
    }>(shared("models/list-comp-2L/golden.json"));
    const sae = await Sae.load(file);
    expect(sae.hookName).toBe("blocks.0.hook_resid_post");
    expect(sae.cfg.architecture).toBe("jumprelu");
    const atSep = golden.resid_post_0.map((row) => row[2]!);
    const x = leaf(Float32Array.from(atSep.flat()), [atSep.length, sae.dIn]);
    const { acts, output } = await runtimes[1]!.realize({ acts: sae.encode(x).acts, output: sae.forward(x) });
    const means = (await goldenTensors(file)).get("act_mean")!.data;
    expect(acts.toArray()).toBeAllClose(golden.sae_feature_acts_SEP.flat());
    const centred = output.toArray().map((v, i) => v - means[i % sae.dIn]!);
    expect(centred).toBeAllClose(golden.sae_recon_SEP_centred.flat());
  });
});
