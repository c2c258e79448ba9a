/** @file Constants folded into an SAE's weights: decoder norms, activation scales, an input mean. New arrays come out. */
import type { SaeConfig } from "../config/config.ts";
import { SaeError } from "../errors.ts";
import { architectures } from "../latents/architectures.ts";
import type { PreparedSae, SaeArray, SaeArrays } from "./arrays.ts";

const map = ({ dims, data }: SaeArray, f: (value: number, i: number) => number): SaeArray => ({
  dims,
  data: data.map(f),
});

/** Row i times `factors[i]`. */
export function scaleRows(matrix: SaeArray, factors: ArrayLike<number>): SaeArray {
  const width = matrix.dims[1]!;
  return map(matrix, (value, i) => value * factors[Math.floor(i / width)]!);
}

const scaleColumns = (matrix: SaeArray, factors: ArrayLike<number>): SaeArray =>
  map(matrix, (value, i) => value * factors[i % matrix.dims[1]!]!);

function rowNorms({ dims, data }: SaeArray): Float64Array {
  const [rows, width] = dims as [number, number];
  const norms = new Float64Array(rows);
  for (let i = 0; i < data.length; i++) norms[Math.floor(i / width)]! += data[i]! ** 2;
  return norms.map(Math.sqrt);
}

/** Everything that is measured in units of a latent; r_mag is a ratio and stays. */
const latentUnits = ["b_enc", "b_gate", "b_mag", "threshold"];

/** Decoder rows of norm 1, the norms moved into the encoder, its biases and thresholds. */
export function foldDecoderNorms(cfg: SaeConfig, arrays: SaeArrays): PreparedSae {
  if (architectures[cfg.architecture].ranks && !cfg.rescale_acts_by_decoder_norm)
    throw new SaeError(
      `the decoder norms of this ${cfg.architecture} SAE cannot be folded: they would change which latents win`,
      {
        code: "sae/fold",
        expected: "rescale_acts_by_decoder_norm",
        where: cfg.metadata.hook_name ?? undefined,
      },
    );
  const norms = rowNorms(arrays["W_dec"]!);
  const folded = Object.entries(arrays).map(([name, array]) => {
    if (name === "W_dec")
      return [
        name,
        scaleRows(
          array,
          norms.map((n) => 1 / n),
        ),
      ];
    if (name === "W_enc") return [name, scaleColumns(array, norms)];
    return [name, latentUnits.includes(name) ? map(array, (value, i) => value * norms[i]!) : array];
  });
  return { cfg: { ...cfg, rescale_acts_by_decoder_norm: false }, arrays: Object.fromEntries(folded) as SaeArrays };
}

/** Inputs times `factor` before, outputs divided by it after; biases and thresholds of latents stay. */
export function foldActivationScale(cfg: SaeConfig, arrays: SaeArrays, factor: number): PreparedSae {
  if (!(Number.isFinite(factor) && factor > 0))
    throw new SaeError("an activation scale must be a positive number", { code: "sae/fold", received: String(factor) });
  return {
    cfg: { ...cfg, normalize_activations: "none" },
    arrays: {
      ...arrays,
      W_enc: map(arrays["W_enc"]!, (value) => value * factor),
      W_dec: map(arrays["W_dec"]!, (value) => value / factor),
      b_dec: map(arrays["b_dec"]!, (value) => value / factor),
    },
  };
}

/** An SAE of centred activations as one of raw activations. */
export function foldInputMean(cfg: SaeConfig, arrays: SaeArrays, means: Float32Array): SaeArrays {
  const b_dec = map(arrays["b_dec"]!, (value, i) => value + means[i]!);
  if (cfg.apply_b_dec_to_input) return { ...arrays, b_dec };
  const { data } = arrays["W_enc"]!;
  const shift = (latent: number): number => means.reduce((sum, m, i) => sum + m * data[i * cfg.d_sae + latent]!, 0);
  const biases = ["b_enc", "b_gate", "b_mag"].filter((name) => name in arrays);
  const moved = biases.map((name) => [name, map(arrays[name]!, (value, i) => value - shift(i))]);
  return { ...arrays, b_dec, ...(Object.fromEntries(moved) as SaeArrays) };
}
