/** @file Where the results of a store come from: what decides them, and how they were made. */
import type { Json, JsonObject } from "../../formats/canonicalJson.ts";
import { analysisHash, entryOf, type Manifest } from "./manifest.ts";

/** An analysis and what it was made by. */
export interface AnalysisProvenance {
  readonly name: string;
  /** The op, or the composition as it was asked for. */
  readonly op: string;
  /** The ops it consists of, in order. */
  readonly chain: readonly string[];
  /** Its content address. */
  readonly hash: string;
  /** What decides its values beside the config of the store. */
  readonly config: JsonObject;
  /** Where it was found, if it was not computed here. */
  readonly reused: JsonObject | null;
}

export interface StoreProvenance {
  readonly store_id: string;
  readonly created_utc: string;
  /** Everything that decides the results: hashes of model, SAEs and data, options. */
  readonly config: JsonObject;
  readonly config_hash: string;
  /** How padding and positions were read: `explicit`, `tlLegacy` or `padded`. */
  readonly positions: string;
  readonly analyses: readonly AnalysisProvenance[];
  /** What the runs were on: versions, backend, threads. */
  readonly versions: JsonObject;
  /** What was worth keeping: paths, names, the session's record. */
  readonly recorded: JsonObject;
  readonly runs: readonly JsonObject[];
}

const isObject = (x: Json | undefined): x is JsonObject => typeof x === "object" && x !== null && !Array.isArray(x);

/** What a run says of an analysis: the last one that does. */
function said(runs: readonly JsonObject[], key: string, name: string): Json | undefined {
  const all = runs.map((run) => run[key]).filter(isObject);
  return all.findLast((facts) => facts[name] !== undefined)?.[name];
}

export function provenanceOf(manifest: Manifest): StoreProvenance {
  const { config, config_hash, runs, identity } = manifest;
  const last = runs.findLast((run) => run["backend"] !== undefined) ?? {};
  const { backend, device, threads, weights, node, platform, interpretune } = last;
  const { positions } = config;
  return {
    ...identity,
    config,
    config_hash,
    positions: typeof positions === "string" ? positions : "explicit",
    analyses: manifest.analyses.map((name) => {
      const entry = entryOf(manifest, name)!;
      const chain = said(runs, "chains", name);
      const reused = said(runs, "reused", name);
      return {
        name,
        op: entry.op,
        chain: Array.isArray(chain) ? chain.map(String) : [entry.op],
        hash: analysisHash(config_hash, entry),
        config: entry.config ?? {},
        reused: isObject(reused) ? reused : null,
      };
    }),
    versions: { interpretune, node, platform, backend, device, threads, weights },
    recorded: manifest.provenance,
    runs,
  };
}

export function describeStore(folder: string, manifest: Manifest): string {
  const { analyses, positions, config_hash, created_utc, store_id, versions } = provenanceOf(manifest);
  const of = analyses.map(({ name, op, chain, reused }) => {
    const made = chain.length > 1 || op !== name ? ` = ${chain.join(".")}` : "";
    return `  ${name}${made}${reused === null ? "" : ` (from ${JSON.stringify(reused["store"])})`}`;
  });
  const hooks = manifest.hooks.map(({ name, width }) => `  ${name} (${width} latents)`);
  const facts = Object.entries(versions).filter(([, value]) => value !== undefined && value !== null);
  return [
    `Store ${folder}`,
    `id ${store_id}, made ${created_utc}`,
    `config ${config_hash.slice(0, 16)}, positions ${positions}, ${manifest.shards} shards, ${manifest.runs.length} runs`,
    "analyses",
    ...of,
    ...(hooks.length > 0 ? ["hooks", ...hooks] : []),
    ...(facts.length > 0 ? [facts.map(([name, value]) => `${name} ${String(value as string)}`).join(", ")] : []),
  ].join("\n");
}
