/** @file The sparse autoencoder: encode, decode, forward with every inner hook point, and its memory. */
import {
  add,
  branch,
  cast,
  detach,
  gather,
  leaf,
  matmul,
  mul,
  namedShape,
  reshape,
  sameDim,
  sub,
  unsqueeze,
  type Dim,
  type Tensor,
} from "../graph/index.ts";
import type { Splice } from "../model/hooks/hookPoint.ts";
import { holdWeights } from "../runtime/heldWeights.ts";
import type { SaeConfig, SaeConfigInput } from "./config/config.ts";
import { checkSaeOptions, SaeError } from "./errors.ts";
import { readSaeFiles, saeName, writeSaeFiles, type SaeLoadOptions } from "./files/files.ts";
import { withoutLatents, type AblatedLatents, type LatentModel } from "./latentModel.ts";
import { architectures, decoderShares, type Codes } from "./latents/architectures.ts";
import { normalizations, type OutputMap } from "./latents/normalize.ts";
import type { SaeParamName, SaeParams } from "./latents/params.ts";
import { decoderProduct } from "./latents/sparse.ts";
import { quiet } from "./points.ts";
import { spliceOptionNames, type SaeForwardOptions, type SaeRunOptions, type SpliceOptions } from "./runOptions.ts";
import type { PreparedSae, SaeArrays } from "./weights/arrays.ts";
import { foldActivationScale, foldDecoderNorms } from "./weights/fold.ts";
import { prepare } from "./weights/prepare.ts";

/** What `decode` must know of the input that was encoded. */
export interface SaeContext {
  readonly codes: Codes;
  /** Undoes the normalisation of the input. */
  readonly out: OutputMap;
  /** The input's shape and dtype, which the output gets back. */
  readonly input: Tensor;
}

const isList = (given: readonly string[] | SaeLoadOptions): given is readonly string[] => Array.isArray(given);

/**
 * A sparse autoencoder for inference, in SAELens' terms (Bloom et al., https://github.com/decoderesearch/SAELens).
 * Expressions in, expressions out; nothing is computed until it is realized.
 *
 * Weights are float32 leaves whose memory is in the ledger under `sae <hook name>` until `dispose()`.
 */
export class Sae implements LatentModel {
  readonly cfg: SaeConfig;
  readonly params: SaeParams;
  #arrays: SaeArrays;
  readonly #release: () => void;

  private constructor({ cfg, arrays }: PreparedSae) {
    this.cfg = cfg;
    this.#arrays = arrays;
    const owner = `sae ${cfg.metadata.hook_name ?? "without hook"}`;
    const leaves = Object.entries(arrays).map(([name, { data, dims }]): [string, Tensor] => [
      name,
      leaf(data, dims, { role: "weight", name: `${owner} ${name}`, sizes: { d_in: cfg.d_in, d_sae: cfg.d_sae } }),
    ]);
    this.params = Object.fromEntries(leaves) as Record<SaeParamName, Tensor>;
    this.#release = holdWeights({ owner, kind: "Sae" }, leaves);
  }

  /**
   * Loads an SAE from disk or from the hub; weights of lower precision become float32.
   * @param name a path, which wins where it exists: a SAELens folder (cfg.json, sae_weights.safetensors) of any version; a
   *   Gemma Scope folder or archive (params.npz); a .pt file with its `_cfg.json`; a .safetensors file whose metadata is its
   *   configuration. Else an id: `release/id` of SAELens' registry, which says what its files leave out (Neuronpedia id), or
   *   `owner/repository/folder`; each with `@revision` if need be. Files come from the hub's cache, or into it.
   * @throws SaeError or FormatError naming the file, the tensor, what was expected and what came; near names for an unknown id
   * @example
   * const sae = await Sae.load("saes/blocks.9.hook_z");
   */
  static load(name: string, options?: SaeLoadOptions): Promise<Sae>;
  /**
   * Loads SAEs of a release, a repository or a folder.
   * @param ids of the release, or folders
   * @example
   * const saes = await Sae.load("gpt2-small-hook-z-kk", ["blocks.9.hook_z", "blocks.10.hook_z"]);
   */
  static load(release: string, ids: readonly string[], options?: SaeLoadOptions): Promise<Sae[]>;
  static async load(
    name: string,
    given: readonly string[] | SaeLoadOptions = {},
    more: SaeLoadOptions = {},
  ): Promise<Sae | Sae[]> {
    const one = async (path: string, options: SaeLoadOptions): Promise<Sae> => {
      const { config, arrays, where } = await readSaeFiles(path, options);
      return new Sae(prepare(config, arrays, where));
    };
    if (!isList(given)) return one(name, given);
    const saes: Sae[] = [];
    for (const id of given) saes.push(await one(saeName(name, id), more));
    return saes;
  }

  /**
   * An SAE over arrays in memory; float32 arrays are used as they are, not copied.
   * @param config keys of SAELens' cfg.json, of any version; `batchtopk` becomes `jumprelu` with its threshold
   * @param arrays by name: W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_dec [d_in] and the architecture's own [d_sae]
   * @param where what errors call it
   * @throws SaeError for a wrong configuration, and for missing, unknown or misshapen tensors
   * @example
   * const sae = Sae.fromParams(
   *   { architecture: "standard", d_in: 2, d_sae: 4, metadata: { hook_name: "blocks.0.hook_resid_pre" } },
   *   {
   *     W_enc: { dims: [2, 4], data: new Float32Array(8).fill(0.5) },
   *     W_dec: { dims: [4, 2], data: new Float32Array(8).fill(0.5) },
   *     b_enc: { dims: [4], data: new Float32Array(4) },
   *     b_dec: { dims: [2], data: new Float32Array(2) },
   *   },
   * );
   */
  static fromParams(config: SaeConfigInput | object, arrays: SaeArrays, where: string = "the SAE"): Sae {
    return new Sae(prepare(config, arrays, where));
  }

  /** Where it hooks in, e.g. `blocks.9.attn.hook_z`. Throws where the configuration does not say. */
  get hookName(): string {
    const name = this.cfg.metadata.hook_name;
    if (name === undefined || name === null)
      throw new SaeError("this SAE does not say where it hooks in", {
        code: "sae/hook-name",
        expected: "metadata.hook_name in its configuration",
        hint: "pass hookName when loading it",
      });
    return name;
  }

  /** Where its output stands: where it hooks in. */
  get hookNameOut(): string {
    return this.hookName;
  }

  /** Width of the activations it reads and reconstructs (heads merged). */
  get dIn(): number {
    return this.cfg.d_in;
  }

  get dOut(): number {
    return this.cfg.d_in;
  }

  /** Number of latents. */
  get dSae(): number {
    return this.cfg.d_sae;
  }

  /**
   * Latents of activations.
   * @param x [..., d_in]; with `reshape_activations: "hook_z"` [..., n_heads, d_head]
   * @returns `acts` [..., d_sae], and the context that `decode` takes: how the input was normalised and shaped
   * @throws SaeError when the width is not d_in
   * @example
   * const { acts, context } = sae.encode(x);
   * const reconstruction = sae.decode(acts, context);
   */
  encode(x: Tensor, options: SaeRunOptions = {}): { acts: Tensor; context: SaeContext } {
    const { fire = quiet } = options;
    const { cfg, params } = this;
    const flat = fire("hook_sae_input", this.#flatten(cast(x, "float32"))); // [..., d_in]
    const { x: normalized, out } = normalizations[cfg.normalize_activations].in(flat, cfg);
    const architecture = architectures[cfg.architecture];
    const projection = matmul(cfg.apply_b_dec_to_input ? sub(normalized, params.b_dec) : normalized, params.W_enc);
    const pre = fire("hook_sae_acts_pre", architecture.pre(projection, params)); // [..., d_sae]
    const codes = architecture.post(pre, projection, params, cfg);
    return { acts: fire("hook_sae_acts_post", codes.acts), context: { codes, out, input: x } };
  }

  /**
   * Activations reconstructed from latents.
   * @param acts [..., d_sae]
   * @param context of the `encode` that gave them. Without it the reconstruction stays flattened, and modes that
   *   normalise at run time cannot be undone
   * @returns [..., d_in], or the shape of what was encoded
   * @throws SaeError without a context in a mode that normalises each token
   * @example
   * const { acts, context } = sae.encode(x);
   * const without7 = sae.decode(where(equal(range(sae.dSae), leaf(BigInt64Array.of(7n), [])), 0, acts), context);
   */
  decode(acts: Tensor, context?: SaeContext, options: SaeRunOptions = {}): Tensor {
    const { fire = quiet, sparseDecode = "auto" } = options;
    const { cfg, params } = this;
    const mode = cfg.normalize_activations;
    if (context === undefined && normalizations[mode].scales)
      throw new SaeError(`latents of an SAE with ${mode} cannot be decoded without the input's scale`, {
        code: "sae/context",
        hint: "pass the context that encode returned",
      });
    const product = decoderProduct(acts, context?.codes, params, cfg, sparseDecode);
    const recons = fire("hook_sae_recons", add(product, params.b_dec)); // [..., d_in], normalised
    if (context === undefined) return recons;
    const { scale, shift } = context.out;
    const scaled = scale === undefined ? recons : mul(recons, scale);
    const output = shift === undefined ? scaled : add(scaled, shift);
    return cast(reshape(output, context.input.shape), context.input.dtype);
  }

  /**
   * The whole SAE: what a splice puts at its hook point.
   * @param x [..., d_in]; with `reshape_activations: "hook_z"` [..., n_heads, d_head]
   * @returns the same shape
   * @example
   * const y = sae.forward(x, { useErrorTerm: true }); // equal to x up to rounding
   */
  forward(x: Tensor, options: SaeForwardOptions = {}): Tensor {
    const { fire = quiet, useErrorTerm = false, gradientThroughError = false } = options;
    // Its own branch: the derivative with respect to a latent must not also run through the error's reconstruction.
    const encoded = useErrorTerm && gradientThroughError ? branch(x, "encoder") : x;
    const { acts, context } = this.encode(encoded, options);
    const reconstruction = this.decode(acts, context, options);
    if (!useErrorTerm) return fire("hook_sae_output", reconstruction);
    const quietly = { ...options, fire: quiet };
    const clean = this.encode(x, quietly);
    const error = sub(x, this.decode(clean.acts, clean.context, quietly));
    const kept = fire("hook_sae_error", gradientThroughError ? error : detach(error));
    return fire("hook_sae_output", add(reconstruction, kept));
  }

  /**
   * What stands at its hook point in a spliced model; its inner points fire under the hook point's name.
   * @throws SaeError for an option that does not exist
   * @example
   * const spliced = model.splice(sae, { useErrorTerm: true });
   */
  splice(options: SpliceOptions = {}): Splice {
    checkSaeOptions(options, spliceOptionNames, "splice");
    return (value, point) =>
      this.forward(value, { ...options, fire: (name, inner) => point.fire(`${point.name}.${name}`, inner) });
  }

  /**
   * What one unit of each listed latent adds to the SAE's output, heads merged: the latent's row of W_dec, divided by its
   * norm where activations carry it, times the token's scale where inputs are normalised at run time.
   * @param latents int64 [batch, n]
   * @param input `hook_sae_input` at the tokens concerned, [batch, n or 1, d_in]; only normalising modes need it
   * @returns [batch, n, d_in]
   * @throws SaeError when a normalising mode gets no input
   */
  ablateDirection(latents: Tensor, input?: Tensor): Tensor {
    const { cfg, params } = this;
    const shares = decoderShares(latents, params, cfg);
    const rows = gather(params.W_dec, latents);
    const directions = shares === undefined ? rows : mul(rows, unsqueeze(shares, -1));
    const mode = cfg.normalize_activations;
    if (!normalizations[mode].scales) return directions;
    if (input === undefined)
      throw new SaeError(`the output of an SAE with ${mode} depends on the input's scale`, {
        code: "sae/context",
        hint: "pass the value of hook_sae_input at these tokens",
      });
    const { scale } = normalizations[mode].in(input, cfg).out;
    return mul(directions, scale!);
  }

  /**
   * The SAE's output with one latent of a token set to 0, for many (token, latent) pairs at once, exactly:
   * `output − activation · direction`. An error term is a constant, so the same holds with and without it.
   * @param output of the splice at the tokens concerned: [batch, n or 1, ...shape of the hook point]
   * @param pairs `latents` int64 [batch, n]; their `activations` [batch, n], values of `hook_sae_acts_post`; `input`
   *   as in {@link ablateDirection}
   * @returns [batch, n, ...shape of the hook point]
   * @example
   * const { acts, context } = sae.encode(select(x, 1, -1)); // the last position of x [batch, pos, d_in]
   * const { indices: latents, values: activations } = topK(acts, 5); // of each row
   * const output = unsqueeze(sae.decode(acts, context), 1); // [batch, 1, d_in]
   * sae.ablate(output, { latents, activations }); // [batch, 5, d_in]
   */
  ablate(output: Tensor, { latents, activations, input }: AblatedLatents): Tensor {
    return withoutLatents(output, activations, this.ablateDirection(latents, input));
  }

  /**
   * The same SAE with decoder rows of norm 1: encoder, biases and thresholds take the norms up.
   * @throws SaeError for topk without `rescale_acts_by_decoder_norm`, where the norms would change the ranking
   */
  foldWDecNorm(): Sae {
    return new Sae(foldDecoderNorms(this.cfg, this.#arrays));
  }

  /**
   * The same SAE with an activation scale folded in (`expected_average_only_in`): it then takes raw activations.
   * @param factor √d_in / E‖x‖ of the activations it was trained on
   */
  foldActivationScale(factor: number): Sae {
    return new Sae(foldActivationScale(this.cfg, this.#arrays, factor));
  }

  /**
   * Saves as SAELens does: `cfg.json` and `sae_weights.safetensors` (float32) in a folder, which is made where missing.
   * @throws SaeError or FormatError when the folder cannot be written
   */
  async save(folder: string): Promise<void> {
    await writeSaeFiles(folder, this.cfg, this.#arrays);
  }

  /** Drops the weights and takes them out of the ledger. Expressions over them can no longer be realized. */
  dispose(): void {
    this.#release();
    this.#arrays = {};
  }

  #flatten(x: Tensor): Tensor {
    const { d_in, reshape_activations } = this.cfg;
    const heads = reshape_activations === "hook_z" ? 2 : 1;
    const own = x.shape.slice(-heads);
    const width = own.reduce<Dim>((a, b) => (typeof a === "number" && typeof b === "number" ? a * b : NaN), 1);
    if (x.rank < heads || !sameDim(width, d_in))
      throw new SaeError("the SAE does not fit these activations", {
        code: "sae/width",
        where: this.cfg.metadata.hook_name ?? undefined,
        expected: heads === 2 ? `[..., n_heads, d_head] with n_heads · d_head = ${d_in}` : `[..., ${d_in}]`,
        received: namedShape(x),
      });
    return heads === 1 ? x : reshape(x, [...x.shape.slice(0, -2), d_in]);
  }
}
