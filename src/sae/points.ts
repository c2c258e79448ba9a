/** @file The points inside an SAE. */
import type { Tensor } from "../graph/index.ts";

/** The points inside an SAE, in the order in which they fire; in a model their names start with the hook point's. */
export const saeHookNames = [
  "hook_sae_input",
  "hook_sae_acts_pre",
  "hook_sae_acts_post",
  "hook_sae_recons",
  "hook_sae_error",
  "hook_sae_output",
] as const;
export type SaeHookName = (typeof saeHookNames)[number];

/** Passes a value through a point inside the SAE and returns the one to use. */
export type SaeFire = (name: SaeHookName, value: Tensor) => Tensor;
/** Passes every value on as it is. */
export const quiet: SaeFire = (_name, value) => value;
