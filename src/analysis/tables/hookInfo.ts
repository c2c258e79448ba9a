/** @file Where latents are: the points that analyses report. */

/** A hook point whose latents are analysed, and the number of latents of its SAE. Widths may differ between hooks. */
export interface HookInfo {
  /** Full point name, such as `blocks.9.attn.hook_z.hook_sae_acts_post`. */
  readonly name: string;
  /** Number of latents (`d_sae`). */
  readonly width: number;
}
