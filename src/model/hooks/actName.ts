/** @file TransformerLens' shorthand for names of hook points. */
const attentionNames = ["k", "v", "q", "z", "rot_k", "rot_q", "result", "pattern", "attn_scores"];
const mlpNames = ["pre", "mid", "post", "pre_linear"];
const aliases: Readonly<Record<string, string>> = {
  attn: "pattern",
  attn_logits: "attn_scores",
  key: "k",
  query: "q",
  value: "v",
  mlp_pre: "pre",
  mlp_mid: "mid",
  mlp_post: "post",
};
const layerTypes: Readonly<Record<string, string>> = {
  a: "attn",
  m: "mlp",
  b: "",
  block: "",
  blocks: "",
  attention: "attn",
};

/**
 * TransformerLens' shorthand for hook names: `("z", 9)`, `("k6")`, `("normalized", 27, "ln2")`, `("scale4ln1")`,
 * `("embed")`. A full name is returned as it is.
 * @example
 * actName("z", 9); // "blocks.9.attn.hook_z"
 */
export function actName(name: string, layer?: number | string, layerType?: string): string {
  if ((name.includes(".") || name.startsWith("hook_")) && layer === undefined && layerType === undefined) return name;
  const packed = /^([a-z_]+?)(\d+)([a-z]+\d?)?$/.exec(name);
  if (packed !== null && layer === undefined) return actName(packed[1]!, Number(packed[2]), packed[3]);
  let short = aliases[name] ?? name;
  const type = layerType === undefined ? undefined : (layerTypes[layerType] ?? layerType);
  if (/^ln_final/.test(String(layerType ?? ""))) return `ln_final.hook_${short}`;
  if (type === undefined || type === "") {
    if (attentionNames.includes(short)) return layered(layer, `attn.hook_${short}`);
    if (mlpNames.includes(short)) return layered(layer, `mlp.hook_${short}`);
  }
  if (layer === undefined && (short === "scale" || short === "normalized")) return `ln_final.hook_${short}`;
  short = short.startsWith("hook_") ? short : `hook_${short}`;
  const part = type === undefined || type === "" ? short : `${type}.${short}`;
  return layered(layer, part);
}

const layered = (layer: number | string | undefined, part: string): string =>
  layer === undefined ? part : `blocks.${layer}.${part}`;
