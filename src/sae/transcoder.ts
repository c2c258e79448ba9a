/** @file Transcoders: what a layer makes of an activation, through sparse latents; read at one hook point, put at another. */
import {
  add,
  branch,
  cast,
  detach,
  gather,
  leaf,
  matmul,
  namedShape,
  reshape,
  sameDim,
  sub,
  type Dim,
  type Tensor,
} from "../graph/index.ts";
import type { Splice } from "../model/hooks/hookPoint.ts";
import { holdWeights } from "../runtime/heldWeights.ts";
import { parseTranscoderConfig, transcoderKinds, type TranscoderConfig } from "./config/transcoderConfig.ts";
import { checkSaeOptions, SaeError } from "./errors.ts";
import { readSaeFiles, writeSaeArrays, type SaeLoadOptions } from "./files/files.ts";
import { withoutLatents, type AblatedLatents, type LatentModel } from "./latentModel.ts";
import { architectures } from "./latents/architectures.ts";
import { normalizations } from "./latents/normalize.ts";
import type { TranscoderParams } from "./latents/params.ts";
import { quiet, type SaeFire } from "./points.ts";
import { spliceOptionNames, type SaeForwardOptions, type SpliceOptions } from "./runOptions.ts";
import type { SaeArrays } from "./weights/arrays.ts";
import { checkShapes } from "./weights/prepare.ts";

export interface TranscoderRunOptions {
  /** Sees and may replace the value at each inner point. */
  readonly fire?: SaeFire;
}

/**
 * A transcoder for inference, in SAELens' terms (Dunefsky et al. 2024, arXiv 2406.11944; with a skip connection Paulo et
 * al. 2025, arXiv 2501.18823): `relu(x·W_enc + b_enc)·W_dec + b_dec`, plus `x·W_skipᵀ`; or JumpReLU in the place of ReLU.
 * It reads `x` at {@link hookName}, such as an MLP's input, and says what {@link hookNameOut} holds, such as its output.
 *
 * Weights are float32 leaves whose memory is in the ledger until `dispose()`.
 */
export class Transcoder implements LatentModel {
  readonly cfg: TranscoderConfig;
  readonly params: TranscoderParams;
  #arrays: SaeArrays;
  readonly #release: () => void;

  private constructor(cfg: TranscoderConfig, arrays: SaeArrays) {
    this.cfg = cfg;
    this.#arrays = arrays;
    const { d_in, d_sae, metadata } = cfg;
    const owner = `transcoder ${metadata.hook_name_out ?? "without hook"}`;
    const leaves = Object.entries(arrays).map(([name, { data, dims }]): [string, Tensor] => [
      name,
      leaf(data, dims, { role: "weight", name: `${owner} ${name}`, sizes: { d_in, d_sae } }),
    ]);
    this.params = Object.fromEntries(leaves) as Record<keyof TranscoderParams, Tensor>;
    this.#release = holdWeights({ owner, kind: "Transcoder" }, leaves);
  }

  /**
   * Loads a transcoder as {@link Sae.load} loads an SAE: a SAELens folder, a Gemma Scope archive, or an id.
   * @throws SaeError or FormatError naming the file, the tensor, what was expected and what came
   * @example
   * const loaded = await Transcoder.load("transcoders/blocks.9.mlp");
   * loaded.hookNameOut; // "blocks.9.hook_mlp_out"
   */
  static async load(name: string, options: SaeLoadOptions = {}): Promise<Transcoder> {
    const { config, arrays, where } = await readSaeFiles(name, options);
    return Transcoder.fromParams(config, arrays, where);
  }

  /**
   * A transcoder over arrays in memory; they are used as they are, not copied.
   * @param config keys of SAELens' cfg.json; `d_out` is `d_in` where it is left out
   * @param arrays by name: W_enc [d_in, d_sae], b_enc [d_sae], W_dec [d_sae, d_out], b_dec [d_out], and the architecture's
   *   own: threshold [d_sae], W_skip [d_out, d_in]
   * @throws SaeError for a wrong configuration, and for missing, unknown or misshapen tensors
   * @example
   * const both = { hook_name: "blocks.0.ln2.hook_normalized", hook_name_out: "blocks.0.hook_mlp_out" };
   * Transcoder.fromParams(
   *   { architecture: "transcoder", d_in: 2, d_sae: 4, metadata: both },
   *   {
   *     W_enc: { dims: [2, 4], data: new Float32Array(8).fill(0.5) },
   *     b_enc: { dims: [4], data: new Float32Array(4) },
   *     W_dec: { dims: [4, 2], data: new Float32Array(8).fill(0.5) },
   *     b_dec: { dims: [2], data: new Float32Array(2) },
   *   },
   * ).dSae; // 4
   */
  static fromParams(config: object, arrays: SaeArrays, where: string = "the transcoder"): Transcoder {
    const cfg = parseTranscoderConfig(config, where);
    const { d_in, d_sae, d_out } = cfg;
    const { latents, skips } = transcoderKinds[cfg.architecture];
    const shapes = new Map<string, readonly number[]>([
      ["W_enc", [d_in, d_sae]],
      ["W_dec", [d_sae, d_out]],
      ["b_dec", [d_out]],
      ...architectures[latents].parameters.map((name) => [name, [d_sae]] as const),
      ...(skips ? [["W_skip", [d_out, d_in]] as const] : []),
    ]);
    checkShapes(cfg.architecture, shapes, arrays, where);
    return new Transcoder(cfg, arrays);
  }

  /** Where it reads, e.g. `blocks.9.ln2.hook_normalized`. Throws where the configuration does not say. */
  get hookName(): string {
    return this.#hook("hook_name");
  }

  /** Where its output belongs, e.g. `blocks.9.hook_mlp_out`; its own hook points have this name in front. */
  get hookNameOut(): string {
    return this.#hook("hook_name_out");
  }

  get dIn(): number {
    return this.cfg.d_in;
  }

  get dOut(): number {
    return this.cfg.d_out;
  }

  /** Number of latents. */
  get dSae(): number {
    return this.cfg.d_sae;
  }

  /**
   * Latents of activations.
   * @param x [..., d_in], or [..., n_heads, d_head] with n_heads · d_head = d_in
   * @returns `acts` [..., d_sae]
   * @throws SaeError when the width is not d_in
   * @example
   * const { acts } = transcoder.encode(x);
   */
  encode(x: Tensor, { fire = quiet }: TranscoderRunOptions = {}): { acts: Tensor } {
    const { cfg, params } = this;
    const flat = fire("hook_sae_input", this.#flatten(x));
    const { x: normalized } = normalizations[cfg.normalize_activations].in(flat, cfg);
    const architecture = architectures[transcoderKinds[cfg.architecture].latents];
    const projection = matmul(normalized, params.W_enc);
    const before = fire("hook_sae_acts_pre", architecture.pre(projection, params)); // [..., d_sae]
    return { acts: fire("hook_sae_acts_post", architecture.post(before, projection, params, cfg).acts) };
  }

  /**
   * What latents stand for, without the skip connection.
   * @param acts [..., d_sae]
   * @returns [..., d_out]
   * @example
   * const y = transcoder.decode(transcoder.encode(x).acts);
   */
  decode(acts: Tensor, { fire = quiet }: TranscoderRunOptions = {}): Tensor {
    return fire("hook_sae_recons", add(matmul(acts, this.params.W_dec), this.params.b_dec));
  }

  /**
   * The whole transcoder: what it says the output is, with its skip connection.
   * @param x [..., d_in]
   * @returns [..., d_out]
   * @throws SaeError when an error term is asked for: what it misses of the output is known only where it is spliced
   * @example
   * const y = transcoder.forward(x);
   */
  forward(x: Tensor, { fire = quiet, useErrorTerm = false }: SaeForwardOptions = {}): Tensor {
    if (useErrorTerm)
      throw new SaeError("a transcoder alone has no error term: it does not see the output that it stands for", {
        code: "sae/error-term",
        where: this.cfg.metadata.hook_name_out ?? undefined,
        hint: "leave the error term out, or splice the transcoder into its model",
      });
    return fire("hook_sae_output", this.#output(x, { fire }));
  }

  /** Without its last point. */
  #output(x: Tensor, options: TranscoderRunOptions = {}): Tensor {
    const decoded = this.decode(this.encode(x, options).acts, options);
    const { W_skip } = this.params;
    return W_skip === undefined ? decoded : add(decoded, matmul(this.#flatten(x), W_skip, { transposeB: true }));
  }

  /**
   * What stands at {@link hookNameOut} in a spliced model: computed from the value at {@link hookName}. Its points fire as
   * SAELens names them, `<hookNameOut>.hook_sae_input`, `…hook_sae_acts_pre`, `…hook_sae_acts_post`, `…hook_sae_recons`,
   * `…hook_sae_error` (with the error term) and `…hook_sae_output`. The error term is what a clean run of the transcoder
   * misses of the model's own output.
   * @throws SaeError for an option that does not exist
   * @example
   * const spliced = model.splice(transcoder, { useErrorTerm: true });
   */
  splice(options: SpliceOptions = {}): Splice {
    checkSaeOptions(options, spliceOptionNames, "splice");
    const { useErrorTerm = false, gradientThroughError = false } = options;
    const splice: Splice = (value, point) => {
      const fire: SaeFire = (name, inner) => point.fire(`${point.name}.${name}`, inner);
      const x = point.read(this.hookName);
      const fitted = (y: Tensor): Tensor => cast(this.#shaped(y, value), value.dtype);
      const encoded = useErrorTerm && gradientThroughError ? branch(x, "encoder") : x;
      const output = fitted(this.#output(encoded, { fire }));
      if (!useErrorTerm) return fire("hook_sae_output", output);
      const error = sub(value, fitted(this.#output(x)));
      return fire("hook_sae_output", add(output, fire("hook_sae_error", gradientThroughError ? error : detach(error))));
    };
    return Object.assign(splice, { reads: this.hookName });
  }

  /**
   * The transcoder's spliced output with one latent of a token set to 0, for many (token, latent) pairs at once, exactly:
   * `output − activation · W_dec[latent]`. Skip connection and error term do not depend on latents.
   * @param output at {@link hookNameOut}, at the tokens concerned: [batch, n or 1, ...shape of the hook point]
   * @param pairs `latents` int64 [batch, n]; their `activations` [batch, n], values of `hook_sae_acts_post`
   * @returns [batch, n, ...shape of the hook point]
   */
  ablate(output: Tensor, { latents, activations }: AblatedLatents): Tensor {
    return withoutLatents(output, activations, gather(this.params.W_dec, latents));
  }

  /**
   * Saves as SAELens does: `cfg.json` and `sae_weights.safetensors` (float32) in a folder, which is made where missing.
   * @throws SaeError or FormatError when the folder cannot be written
   */
  async save(folder: string): Promise<void> {
    await writeSaeArrays(folder, { ...this.cfg }, this.#arrays);
  }

  /** Drops the weights and takes them out of the ledger. Expressions over them can no longer be realized. */
  dispose(): void {
    this.#release();
    this.#arrays = {};
  }

  #hook(key: "hook_name" | "hook_name_out"): string {
    const name = this.cfg.metadata[key];
    if (typeof name === "string") return name;
    throw new SaeError("this transcoder does not say where it belongs", {
      code: "sae/hook-name",
      expected: `metadata.${key} in its configuration`,
    });
  }

  /** Heads merged, float32. */
  #flatten(x: Tensor): Tensor {
    const { d_in } = this.cfg;
    const merged = x.rank > 2 && !sameDim(x.shape.at(-1)!, d_in);
    const own = x.shape.slice(merged ? -2 : -1);
    const width = own.reduce<Dim>((a, b) => (typeof a === "number" && typeof b === "number" ? a * b : NaN), 1);
    if (!sameDim(width, d_in)) throw this.#misfit(`[..., ${d_in}]`, x);
    const wide = cast(x, "float32");
    return merged ? reshape(wide, [...x.shape.slice(0, -2), d_in]) : wide;
  }

  /** In the shape of what it stands for. */
  #shaped(y: Tensor, like: Tensor): Tensor {
    const { d_out } = this.cfg;
    if (like.rank === y.rank && sameDim(like.shape.at(-1)!, d_out)) return y;
    const [heads, width] = like.shape.slice(-2);
    if (like.rank !== y.rank + 1 || typeof heads !== "number" || typeof width !== "number" || heads * width !== d_out)
      throw this.#misfit(`[..., ${d_out}] at ${this.hookNameOut}`, like);
    return reshape(y, like.shape);
  }

  #misfit(expected: string, x: Tensor): SaeError {
    return new SaeError("the transcoder does not fit these activations", {
      code: "sae/width",
      where: this.cfg.metadata.hook_name_out ?? undefined,
      expected,
      received: namedShape(x),
    });
  }
}
