/** @file The forward pass of every supported transformer, read top to bottom, hooks beside the math. */
import { subDims, type Dim } from "../../graph/axis.ts";
import { add, branch, div, gather, matmul, mul, slice, tanh, unsqueeze, where } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { activations } from "../activations.ts";
import type { ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import type { Trace } from "../hooks/trace.ts";
import type { ModelWeights } from "../weights/weights.ts";
import {
  attention,
  attentionBias,
  independentBias,
  rotationAt,
  type AttentionContext,
  type KeyValues,
} from "./attention.ts";
import { normalize, type BlockContext } from "./norm.ts";

export interface ForwardInput {
  /** int64 [batch, pos]; absent when starting from a residual. */
  readonly tokens: Tensor | undefined;
  /** int64 [batch, pos]: the position of each new token. */
  readonly positions: Tensor;
  /** bool [batch, past + pos]: real tokens. Absent: all are. */
  readonly keyMask: Tensor | undefined;
  /** Whether some query may see no key at all (left padding). */
  readonly emptyRows: boolean;
  /** The residual entering block `startAtLayer`, [batch, pos, d_model]. */
  readonly residual?: Tensor;
  readonly startAtLayer: number;
  /** The first block that is not run; the result is then the residual before it. */
  readonly stopAtLayer: number | undefined;
  /** Keys and values of earlier positions, one per layer (null where a layer is not run). */
  readonly past?: readonly (KeyValues | null)[];
  /** int64 [batch, past + pos]: positions of all keys; needed with `past` and rotary embedding. */
  readonly keyPositions?: Tensor;
  /**
   * New positions see the past and themselves, not each other: many variants of one token at once. `index` int64
   * [batch, pos or 1] is where each stands in the past's row, `pastMask` bool [batch, past] which keys are real. The
   * past's keys and values may have room for more positions than that.
   */
  readonly independent?: { readonly index: Tensor; readonly pastMask: Tensor };
}

export interface ForwardOutput {
  /** [batch, pos, d_vocab_out]; absent when stopped early. */
  readonly logits: Tensor | undefined;
  /** The residual after the last block that ran. */
  readonly residual: Tensor;
  /** The residual entering each block, before its hook fires (null where a block is not run), and the final one. */
  readonly entering: readonly (Tensor | null)[];
  readonly keyValues: readonly (KeyValues | null)[];
}

/** Tables and weights that outlive a pass. */
export interface TransformerParts {
  readonly cfg: ModelConfig;
  readonly weights: ModelWeights;
  /** Rotary tables over positions, [position, rotary_dim / 2]. */
  readonly rotary: { readonly cos: Tensor; readonly sin: Tensor } | undefined;
  /** Additive attention tables [n_ctx, n_ctx] of models that state their own masks. */
  readonly maskTable: ((layer: number) => Tensor) | undefined;
}

const pastLength = (past: ForwardInput["past"]): Dim => past?.find((x) => x !== null)?.keys.shape[1] ?? 0;

/** Builds the expression of a forward pass. */
export function forward(parts: TransformerParts, input: ForwardInput, trace: Trace): ForwardOutput {
  const { cfg, weights } = parts;
  const weightAt =
    (prefix: string) =>
    (name: string, required = true): Tensor => {
      const found = weights.get(`${prefix}${name}`);
      if (found === undefined && required)
        throw new ModelError(`the model has no parameter ${prefix}${name}`, { code: "model/weight" });
      return found!;
    };
  const top: Pick<BlockContext, "name" | "cfg" | "trace" | "weight"> = {
    name: "",
    cfg,
    trace,
    weight: weightAt(""),
  };

  const embedded = input.residual === undefined ? embed(parts, input, trace) : undefined;
  let resid = input.residual ?? embedded!.resid; // [batch, pos, d_model]
  const shared = attentionContext(parts, input, embedded?.positional);
  const last = input.stopAtLayer ?? cfg.n_layers;
  const keyValues: (KeyValues | null)[] = [];
  const entering: (Tensor | null)[] = [];
  for (let layer = 0; layer < cfg.n_layers; layer++) {
    if (layer < input.startAtLayer || layer >= last) {
      keyValues.push(null);
      entering.push(null);
      continue;
    }
    entering.push(resid);
    const name = `blocks.${layer}`;
    const block: BlockContext = { name, layer, cfg, trace, weight: weightAt(`${name}.`) };
    const past = input.past?.[layer];
    if (past === null)
      throw new ModelError(`the past holds no keys and values of block ${layer}`, {
        code: "model/past",
        hint: "the run that made it stopped before that block or started behind it",
      });
    const result = transformerBlock(resid, block, shared, past);
    resid = result.resid;
    keyValues.push(result.keyValues);
  }
  entering.push(resid);
  const known = { residual: resid, entering, keyValues };
  if (input.stopAtLayer !== undefined && input.stopAtLayer < cfg.n_layers) return { logits: undefined, ...known };

  const final = trace.fire("unembed.hook_in", normalize(resid, top, "ln_final"));
  const unbiased = matmul(final, weights.get("unembed.W_U")!);
  const bias = weights.get("unembed.b_U");
  const out = trace.fire("unembed.hook_out", bias === undefined ? unbiased : add(unbiased, bias)); // [batch, pos, d_vocab_out]
  const cap = cfg.output_logits_soft_cap;
  return { logits: cap > 0 ? mul(tanh(div(out, cap)), cap) : out, ...known };
}

function embed(
  { cfg, weights }: TransformerParts,
  { tokens, positions, keyMask }: ForwardInput,
  trace: Trace,
): { resid: Tensor; positional: Tensor | undefined } {
  const rows = gather(weights.get("embed.W_E")!, tokens!, 0);
  const embedded = trace.fire("hook_embed", cfg.embedding_scale === 1 ? rows : mul(rows, cfg.embedding_scale));
  const kind = cfg.positional_embedding_type;
  if (kind !== "standard" && kind !== "shortformer") return { resid: embedded, positional: undefined };
  const learned = gather(weights.get("pos_embed.W_pos")!, positions, 0);
  const real = keyMask === undefined ? undefined : newPositions(keyMask, positions);
  const shown = real === undefined ? learned : where(unsqueeze(real, -1), learned, 0);
  const positional = trace.fire("hook_pos_embed", shown); // [batch, pos, d_model]
  return { resid: kind === "standard" ? add(embedded, positional) : embedded, positional };
}

/** The part of a key mask that belongs to the new positions. */
function newPositions(keyMask: Tensor, positions: Tensor): Tensor {
  const all = keyMask.shape[1]!;
  return slice(keyMask, 1, subDims(all, positions.shape[1]!), all);
}

function attentionContext(
  parts: TransformerParts,
  input: ForwardInput,
  positional: Tensor | undefined,
): AttentionContext {
  const { cfg } = parts;
  const query = input.positions.shape[1]!;
  const { independent, keyMask, keyPositions = input.positions } = input;
  const past = independent?.pastMask.shape[1] ?? pastLength(input.past);
  const rotary = parts.rotary && {
    queries: rotationAt(parts.rotary, input.positions),
    keys: rotationAt(parts.rotary, keyPositions),
  };
  const bias =
    independent === undefined
      ? attentionBias(cfg, { query, past, keyMask, table: parts.maskTable, positions: input.positions, keyPositions })
      : independentBias(cfg, { ...independent, query, past });
  // A padded query whose window holds nothing but padding sees no key either.
  const emptyRows = input.emptyRows || parts.maskTable !== undefined || (cfg.use_local_attn && keyMask !== undefined);
  return {
    rotary,
    bias,
    emptyRows: independent === undefined && emptyRows,
    independent: independent !== undefined,
    past,
    shortformer: cfg.positional_embedding_type === "shortformer" ? positional : undefined,
  };
}

function transformerBlock(
  start: Tensor,
  block: BlockContext,
  shared: AttentionContext,
  past: KeyValues | undefined,
): { resid: Tensor; keyValues: KeyValues } {
  const { name, trace, cfg } = block;
  const resid = trace.fire(`${name}.hook_resid_pre`, start); // [batch, pos, d_model]
  const { out, keyValues } = attention(resid, normalize(resid, block, "ln1"), block, shared, past);
  const attnOut = trace.fire(
    `${name}.hook_attn_out`,
    cfg.use_normalization_before_and_after ? normalize(out, block, "ln1_post") : out,
  );
  if (cfg.attn_only) return { resid: trace.fire(`${name}.hook_resid_post`, add(resid, attnOut)), keyValues };
  const middle = cfg.parallel_attn_mlp ? resid : trace.fire(`${name}.hook_resid_mid`, add(resid, attnOut));
  const mlpIn = trace.wants(`${name}.hook_mlp_in`)
    ? trace.fire(`${name}.hook_mlp_in`, branch(middle, "hook_mlp_in"))
    : cfg.parallel_attn_mlp && wantsNorm(trace, `${name}.ln2`)
      ? branch(middle, "ln2") // else it were ln1's expression, and so were its gradient
      : middle;
  const made = mlp(normalize(mlpIn, block, "ln2"), block);
  const mlpOut = trace.fire(
    `${name}.hook_mlp_out`,
    cfg.use_normalization_before_and_after ? normalize(made, block, "ln2_post") : made,
  );
  const sum = cfg.parallel_attn_mlp ? add(add(resid, attnOut), mlpOut) : add(middle, mlpOut);
  return { resid: trace.fire(`${name}.hook_resid_post`, sum), keyValues };
}

const wantsNorm = (trace: Trace, part: string): boolean =>
  ["hook_scale", "hook_normalized"].some((point) => trace.wants(`${part}.${point}`));

function mlp(x: Tensor, { name, trace, cfg, weight }: BlockContext): Tensor {
  const act = activations[cfg.act_fn!];
  const linear = (w: string, b: string): Tensor => {
    const bias = weight(b, false);
    const product = matmul(x, weight(w));
    return bias === undefined ? product : add(product, bias);
  };
  let post: Tensor;
  if (cfg.gated_mlp) {
    const pre = trace.fire(`${name}.mlp.hook_pre`, linear("mlp.W_gate", "mlp.b_gate")); // [batch, pos, d_mlp]
    const up = trace.fire(`${name}.mlp.hook_pre_linear`, linear("mlp.W_in", "mlp.b_up"));
    const bias = weight("mlp.b_in", false);
    const product = mul(act(pre), up);
    post = bias === undefined ? product : add(product, bias);
  } else post = act(trace.fire(`${name}.mlp.hook_pre`, linear("mlp.W_in", "mlp.b_in")));
  const hooked = trace.fire(`${name}.mlp.hook_post`, post); // [batch, pos, d_mlp]
  const out = matmul(hooked, weight("mlp.W_out"));
  const bias = weight("mlp.b_out", false);
  return bias === undefined ? out : add(out, bias);
}
