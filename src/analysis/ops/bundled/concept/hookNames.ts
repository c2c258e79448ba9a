/** @file Patterns of hook points: globs, and the names that other wrappers give the same values. */
import { compileFilter, noSuchPoint } from "../../../../model/hooks/filter.ts";
import { saeHookNames } from "../../../../sae/index.ts";

/** Names of one value, without the block's prefix. */
const sameInBlock: readonly (readonly string[])[] = [
  ["hook_in", "hook_resid_pre"],
  ["hook_out", "hook_resid_post"],
  ["attn.o.hook_in", "attn.hook_z"],
  ["attn.hook_out", "hook_attn_out"],
  ["mlp.hook_out", "hook_mlp_out"],
  ["mlp.in.hook_out", "mlp.hook_pre"],
  ["mlp.out.hook_in", "mlp.hook_post"],
  ["attn.q.hook_out", "attn.hook_q"],
  ["attn.k.hook_out", "attn.hook_k"],
  ["attn.v.hook_out", "attn.hook_v"],
];
const sameOutside: readonly (readonly string[])[] = [
  ["embed.hook_out", "hook_embed"],
  ["pos_embed.hook_out", "hook_pos_embed"],
];

/** A pattern and the other ways to write it. */
function spellings(pattern: string): string[] {
  const [, prefix = "", middle = "", inner = ""] = parts.exec(pattern)!;
  const groups = prefix === "" ? sameOutside : sameInBlock;
  const others = groups.filter((group) => group.includes(middle)).flat();
  return [...new Set([pattern, ...others.map((name) => `${prefix}${name}${inner}`)])];
}

const parts = new RegExp(`^((?:blocks\\.[^.]+|\\*)\\.)?(.*?)(\\.(?:${saeHookNames.join("|")}))?$`, "s");

/**
 * The hook points that a pattern means, in the order of the forward pass.
 * @param pattern a name or a glob, as TransformerLens or its bridge writes it
 * @throws ModelError with the nearest names where there are none
 */
export function resolveHooks(pattern: string, names: readonly string[]): string[] {
  for (const spelling of spellings(pattern)) {
    const matches = compileFilter(spelling);
    const found = names.filter(matches);
    if (found.length > 0) return found;
  }
  throw noSuchPoint(`no hook point matches ${pattern}`, pattern, names);
}
