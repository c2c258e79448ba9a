/** @file `manifest.json`: what a store holds, of which config, and how its runs went. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { AnalysisError } from "../errors.ts";
import { systemCode, writeAtomic } from "./atomic.ts";
import { jsonHash, type Json, type JsonObject } from "../../formats/canonicalJson.ts";
import { analysisNames, type AnalysisName, type HookInfo } from "./schema.ts";

export const manifestFile = "manifest.json";

const jsonObject = z.record(z.string(), z.json());

const manifestSchema = z.object({
  format: z.literal("interpretune-store"),
  version: z.literal(1),
  config: jsonObject,
  config_hash: z.string(),
  analyses: z.array(z.enum(analysisNames as [AnalysisName, ...AnalysisName[]])),
  hooks: z.array(z.object({ name: z.string(), width: z.number().int().positive() })),
  shards: z.number().int().nonnegative(),
  provenance: jsonObject,
  runs: z.array(jsonObject),
});

/** The content of `manifest.json`. Only `config`, `hooks` and `shards` enter the hash. */
export interface Manifest {
  readonly format: "interpretune-store";
  readonly version: 1;
  readonly config: JsonObject;
  /** SHA-256 of config, hooks and shards; every shard carries it. */
  readonly config_hash: string;
  readonly analyses: readonly AnalysisName[];
  readonly hooks: readonly HookInfo[];
  /** Number of shards of each table of each analysis, one per batch group. */
  readonly shards: number;
  readonly provenance: JsonObject;
  /** One entry per process that wrote here: timings, thread counts. */
  readonly runs: readonly JsonObject[];
}

/** The part of a manifest that decides whether two runs may share a folder. */
export function identity({ config, hooks, shards }: Pick<Manifest, "config" | "hooks" | "shards">): JsonObject {
  return { config, hooks: hooks.map(({ name, width }): Json => ({ name, width })), shards };
}

export function configHash(manifest: Pick<Manifest, "config" | "hooks" | "shards">): string {
  return jsonHash(identity(manifest));
}

/** The manifest of a folder, or undefined where there is none. */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = join(folder, manifestFile);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new AnalysisError(`cannot read ${path}`, { code: "store/unreadable", received: code, cause });
  }
  try {
    const manifest = manifestSchema.parse(JSON.parse(text));
    if (manifest.config_hash !== configHash(manifest)) throw new Error("the config does not have the hash beside it");
    return manifest;
  } catch (cause) {
    throw new AnalysisError(`${path} is not the manifest of a store`, {
      code: "store/manifest",
      received: cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause),
      hint: "it was changed by hand or by another program; the shards beside it still name their config hash",
      cause,
    });
  }
}

export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await writeAtomic(join(folder, manifestFile), JSON.stringify(manifest, null, 2) + "\n");
}
