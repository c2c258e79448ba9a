/** @file Content hashes of what a run is made from: the same model or SAE in another folder is the same. */
import { createHash, type Hash } from "node:crypto";
import { printGraph, type DataArray, type Tensor } from "../../graph/index.ts";
import { topological } from "../../graph/traverse.ts";
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { canonicalJson } from "../../formats/index.ts";

/** BLAKE2b: twice as fast as SHA-256 where the processor has no instructions for that. */
const newHash = (): Hash => createHash("blake2b512");
const finish = (hash: Hash): string => hash.digest("hex").slice(0, 64);

/** The most bytes a hash takes at a time. */
const piece = 2 ** 30;

function hashArray(hash: Hash, { buffer, byteOffset, byteLength }: DataArray): void {
  for (let at = 0; at < byteLength; at += piece)
    hash.update(new Uint8Array(buffer, byteOffset + at, Math.min(piece, byteLength - at)));
}

/** How each parameter is made of the tensors of its file, then every byte of those. */
function hashWeights(hash: Hash, weights: readonly (readonly [string, Tensor])[]): void {
  const sorted = [...weights].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, x] of sorted) hash.update(`${name}\n${printGraph(x)}\n`);
  for (const x of topological(sorted.map(([, x]) => x))) if (x.storage !== undefined) hashArray(hash, x.data);
}

/**
 * The hash of a model: its configuration (but its name), its parameters as views of the file's tensors, and all of their
 * bytes. Every byte, not a sample: a run that is resumed with one head of the model changed must not go on. It takes
 * about as long as reading the file once.
 * @example
 * modelHash(model).length; // 64
 */
export function modelHash(model: HookedModel): string {
  const { model_name: _, ...cfg } = model.cfg;
  const hash = newHash().update(canonicalJson(cfg));
  hashWeights(hash, [...model.weights]);
  return finish(hash);
}

/**
 * The hash of an SAE or a transcoder: its configuration without what only describes it, and its weights.
 * @example
 * saes.map(saeHash);
 */
export function saeHash(sae: LatentModel): string {
  const { metadata: _, device: _device, dtype: _dtype, ...cfg } = sae.cfg;
  const places = {
    hook_name: sae.hookName,
    ...(sae.hookNameOut !== sae.hookName && { hook_name_out: sae.hookNameOut }),
  };
  const hash = newHash().update(canonicalJson({ ...cfg, ...places }));
  hashWeights(hash, Object.entries(sae.params));
  return finish(hash);
}
