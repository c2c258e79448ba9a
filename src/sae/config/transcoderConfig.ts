/** @file The configuration of a transcoder: SAELens' cfg.json. */
import { SaeError } from "../errors.ts";
import { parseSaeConfig, type SaeMetadata, type StoredSaeConfig } from "./config.ts";
import { upgradeConfig } from "./upgrade.ts";

/** The architectures: how latents come about, and whether a skip connection stands beside them. */
export const transcoderKinds = {
  transcoder: { latents: "standard", skips: false },
  skip_transcoder: { latents: "standard", skips: true },
  jumprelu_transcoder: { latents: "jumprelu", skips: false },
  jumprelu_skip_transcoder: { latents: "jumprelu", skips: true },
} as const;
export type TranscoderArchitecture = keyof typeof transcoderKinds;

/** Keys and meanings of SAELens' cfg.json; where the transcoder reads and belongs stands in `metadata`. */
export interface TranscoderConfig extends Omit<StoredSaeConfig, "architecture" | "k" | "rescale_acts_by_decoder_norm"> {
  readonly architecture: TranscoderArchitecture;
  /** Width of the output. */
  readonly d_out: number;
  readonly metadata: SaeMetadata & { hook_name_out?: string | null | undefined };
}

export const isTranscoderKind = (architecture: unknown): architecture is TranscoderArchitecture =>
  typeof architecture === "string" && Object.hasOwn(transcoderKinds, architecture);

const names = Object.keys(transcoderKinds) as TranscoderArchitecture[];

/** @throws SaeError naming the wrong keys; for another architecture it lists those that there are */
export function parseTranscoderConfig(config: unknown, where: string): TranscoderConfig {
  const upgraded = upgradeConfig(config, where);
  const { architecture } = upgraded;
  if (!isTranscoderKind(architecture))
    throw new SaeError("this is no transcoder", {
      code: "sae/architecture",
      where,
      expected: `one of ${names.join(", ")}`,
      received: JSON.stringify(architecture),
      hint: "an SAE is loaded with Sae.load",
    });
  const fail = (key: string, expected: string): never => {
    throw new SaeError("the configuration of the transcoder is not valid", {
      code: "sae/config",
      where: `${where}, ${key}`,
      expected,
      received: JSON.stringify(upgraded[key]),
    });
  };
  if (upgraded["apply_b_dec_to_input"] === true) fail("apply_b_dec_to_input", "false: the bias has the output's width");
  const known = parseSaeConfig({ ...upgraded, architecture: "standard", apply_b_dec_to_input: false }, where);
  const { k: _k, rescale_acts_by_decoder_norm: _rescale, ...shared } = known;
  const d_out = upgraded["d_out"] ?? shared.d_in;
  if (typeof d_out !== "number" || !Number.isInteger(d_out) || d_out < 1) return fail("d_out", "a positive integer");
  const hook_name_out = (shared.metadata as TranscoderConfig["metadata"]).hook_name_out;
  if (hook_name_out !== undefined && hook_name_out !== null && typeof hook_name_out !== "string")
    return fail("metadata", "hook_name_out as text");
  return { ...shared, architecture, d_out };
}
