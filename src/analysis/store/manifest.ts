/** @file `manifest.json`: what a store holds, of which config, and how its runs went. */
import { systemCode } from "../../formats/disk/systemError.ts";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { AnalysisError } from "../errors.ts";
import { writeAtomic } from "./atomic.ts";
import { jsonHash, type Json, type JsonObject } from "../../formats/canonicalJson.ts";
import { checkEntry, type AnalysisEntry } from "../tables/entry.ts";
import { analysisEntry, isAnalysisName } from "../tables/four.ts";
import type { HookInfo } from "../tables/hookInfo.ts";

export const manifestFile = "manifest.json";

const jsonObject = z.record(z.string(), z.json());

const hookSchema = z.object({ name: z.string(), width: z.number().int().positive() });

const columnSchema = z.object({
  per: z.enum(["example", "latent", "batch"]),
  type: z.enum(["float32", "int32", "bool", "string", "json"]),
  list: z.boolean().optional(),
  optional: z.boolean().optional(),
  description: z.string(),
});

const entrySchema = z.object({
  op: z.string(),
  columns: z.record(z.string(), columnSchema),
  latents: z.boolean(),
  hooks: z.array(hookSchema).optional(),
  config: jsonObject.optional(),
});

const manifestSchema = z.object({
  format: z.literal("interpretune-store"),
  version: z.literal(1),
  config: jsonObject,
  config_hash: z.string(),
  analyses: z.array(z.string()),
  declared: z.record(z.string(), entrySchema).optional(),
  hooks: z.array(hookSchema),
  shards: z.number().int().nonnegative(),
  provenance: jsonObject,
  runs: z.array(jsonObject),
  identity: z.object({ store_id: z.string(), created_utc: z.string() }),
});

/** The content of `manifest.json`. Only `config`, `hooks` and `shards` enter the hash. */
export interface Manifest {
  readonly format: "interpretune-store";
  readonly version: 1;
  readonly config: JsonObject;
  /** SHA-256 of config, hooks and shards; every shard carries it. */
  readonly config_hash: string;
  /** Names of the analyses: each has a folder. */
  readonly analyses: readonly string[];
  /** How analyses are declared, by name; the four, as they are, need no declaration. */
  readonly declared?: Readonly<Record<string, Omit<AnalysisEntry, "name">>>;
  readonly hooks: readonly HookInfo[];
  /** Number of shards of each table of each analysis, one per batch group. */
  readonly shards: number;
  readonly provenance: JsonObject;
  /** One entry per process that wrote here: timings, thread counts. */
  readonly runs: readonly JsonObject[];
  /** Kept for as long as the store lives, wherever it is copied. */
  readonly identity: { readonly store_id: string; readonly created_utc: string };
}

/** The part of a manifest that decides whether two runs may share a folder. */
export function identity({ config, hooks, shards }: Pick<Manifest, "config" | "hooks" | "shards">): JsonObject {
  return { config, hooks: hooks.map(({ name, width }): Json => ({ name, width })), shards };
}

export function configHash(manifest: Pick<Manifest, "config" | "hooks" | "shards">): string {
  return jsonHash(identity(manifest));
}

/** How an analysis of a store is declared; undefined where the store does not have it. */
export function entryOf({ analyses, declared }: Manifest, name: string): AnalysisEntry | undefined {
  if (!analyses.includes(name)) return undefined;
  const own = Object.hasOwn(declared ?? {}, name) ? declared![name] : undefined;
  if (own !== undefined) return { name, ...own };
  return isAnalysisName(name) ? analysisEntry(name) : undefined;
}

/**
 * Checks what is declared: names that can be folders, columns that can stand beside the tables' own, and the names of
 * the four for the four alone.
 * @throws AnalysisError `store/name`, `store/columns`
 */
export function checkDeclared(entry: AnalysisEntry): void {
  checkEntry(entry);
  if (!isAnalysisName(entry.name) || entry.op === entry.name) return;
  throw new AnalysisError("an analysis has the name of another op", {
    code: "store/name",
    expected: entry.name,
    received: entry.op,
    hint: "give it another name",
  });
}

/** Whether it is one of the four under its own name and with nothing of its own. */
export function isPlain({ name, op, hooks, config }: AnalysisEntry): boolean {
  return isAnalysisName(name) && op === name && hooks === undefined && config === undefined;
}

/**
 * The content address of an analysis: the hash of the run's config and of what is its own. Two analyses that have the
 * same one hold the same values, whatever they are called.
 */
export function analysisHash(run: string, entry: AnalysisEntry): string {
  const { op, hooks, config, latents } = entry;
  const columns = Object.entries(entry.columns).map(([name, { per, type, list, optional }]): Json => ({
    ...{ name, per, type },
    ...{ list: list ?? false, optional: optional ?? false },
  }));
  const own = { op, columns, latents, hooks: hooks?.map(({ name, width }): Json => ({ name, width })), config };
  return jsonHash({ run, ...own });
}

/** The hash that stands in the shards of an analysis. */
export function shardHash(run: string, entry: AnalysisEntry): string {
  return isPlain(entry) ? run : analysisHash(run, entry);
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
    for (const name of manifest.analyses) {
      const entry = entryOf(manifest, name);
      if (entry === undefined) throw new Error(`${name} is not declared`);
      checkDeclared(entry);
    }
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
