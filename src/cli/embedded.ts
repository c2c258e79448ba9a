/** @file The demo that comes with the package: a small language model, SAEs trained on it, and questions for it. */
import { fileURLToPath } from "node:url";

const at = (path: string): string => fileURLToPath(new URL(`../../demo/${path}`, import.meta.url));

/** Where its parts are. */
export const embedded: { readonly model: string; readonly saes: readonly string[]; readonly data: string } = {
  model: at("model"),
  saes: ["blocks.1.hook_resid_post", "blocks.2.attn.hook_z"].map((hook) => at(`saes/${hook}`)),
  data: at("data/test.jsonl"),
};
