/** @file An SAE of a configuration alone: SAELens' standard SAE before any training. */
import type { JsonObject } from "../../formats/index.ts";
import { Sae } from "../../sae/index.ts";
import { kaimingUniform } from "../../train/sae/init.ts";
import { transposed } from "../../train/sae/learner.ts";
import { SessionError } from "../errors.ts";

/**
 * A standard SAE with initial weights, as SAELens makes one: the decoder is drawn as PyTorch's `kaiming_uniform_` does, the
 * encoder is its transpose, biases are 0.
 * @param cfg keys of cfg.json, of any version
 * @param where what errors call it
 * @throws SessionError for another architecture; SaeError for a configuration that is none
 */
export function customSae(cfg: JsonObject, hookName: string | null, seed: number, where: string): Sae {
  const { architecture = "standard", d_in, d_sae, metadata } = cfg;
  if (architecture !== "standard")
    throw new SessionError("an SAE without weights is a standard one", {
      code: "session/sae",
      where: `${where}.cfg.architecture`,
      expected: "standard",
      received: JSON.stringify(architecture),
      hint: "train one with train-sae, or load one",
    });
  const sizes = [d_in, d_sae].map((size) =>
    typeof size === "number" && Number.isInteger(size) && size > 0 ? size : 0,
  );
  const [width, latents] = sizes as [number, number];
  const decoder = kaimingUniform([latents, width], seed);
  const given = typeof metadata === "object" && metadata !== null && !Array.isArray(metadata) ? metadata : {};
  const named = hookName === null ? {} : { metadata: { ...given, hook_name: hookName } };
  return Sae.fromParams(
    { ...cfg, architecture, ...named },
    {
      W_enc: transposed(decoder),
      W_dec: decoder,
      b_enc: { dims: [latents], data: new Float32Array(latents) },
      b_dec: { dims: [width], data: new Float32Array(width) },
    },
    `${where}.cfg`,
  );
}
