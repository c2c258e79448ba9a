/** @file A store as the folder of a data set: card, artifact record, tables. */
import { systemCode } from "../../formats/disk/systemError.ts";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { AnalysisError } from "../errors.ts";
import type { Json } from "../../formats/canonicalJson.ts";
import { hubUpload, parseHubRef, type HubRef, type Uploaded, type UploadOptions } from "../../formats/index.ts";
import { makeFolder, writeAtomic } from "./atomic.ts";
import { columnsPer } from "../tables/entry.ts";
import { latentColumnNames, shardFile, tablesOf, type TableName } from "./shard.ts";
import { manifestFile, readManifest, writeManifest } from "./manifest.ts";
import type { OpenStore } from "./openStore.ts";
import { provenanceOf } from "./provenance.ts";

export interface PushOptions {
  /** Heading of the card. Default: the folder's name. */
  readonly title?: string;
  /** As the hub names it, such as `mit`. */
  readonly license?: string;
  /** The split the examples are of. Default: what the run recorded, else null. */
  readonly split?: string;
}

const artifactFile = "it_artifact.json";

const artifactSchema = z.object({
  schema: z.literal(1),
  identity: z.object({ store_id: z.string(), created_utc: z.string() }),
  provenance: z.object({
    interpretune_version: z.string().nullable(),
    content_fingerprint: z.string(),
    op_collections: z.array(z.json()),
  }),
  artifacts: z.array(
    z.object({
      name: z.string(),
      split: z.string().nullable(),
      num_rows: z.number().int(),
      columns: z.array(z.string()),
      interchange: z.literal("parquet"),
    }),
  ),
  interpretune: z.record(z.string(), z.json()),
});

type Artifact = z.infer<typeof artifactSchema>;

/** Name and content of every table file, in order: the same store has the same fingerprint wherever it lies. */
async function fingerprint(store: OpenStore): Promise<string> {
  const hash = createHash("sha256");
  for (const path of tableFiles(store)) {
    const bytes = await readFile(join(store.folder, path));
    hash.update(`${path}\n${createHash("sha256").update(bytes).digest("hex")}\n`);
  }
  return hash.digest("hex");
}

function tableFiles(store: OpenStore): string[] {
  return store.names.flatMap((name) =>
    tablesOf(store.entry(name)).flatMap((table) =>
      Array.from({ length: store.manifest.shards }, (_, shard) => `${name}/${shardFile(table, shard)}`),
    ),
  );
}

export async function push(store: OpenStore, folder: string, options: PushOptions): Promise<void> {
  await store.verify();
  await takeable(store, folder);
  for (const name of store.names) await makeFolder(join(folder, name));
  for (const path of tableFiles(store)) {
    const bytes = await readFile(join(store.folder, path));
    const there = await readFile(join(folder, path)).catch(() => undefined);
    if (there === undefined || !there.equals(bytes)) await writeAtomic(join(folder, path), bytes);
  }
  await writeManifest(folder, store.manifest);
  const artifact = await artifactOf(store, options);
  await writeAtomic(join(folder, artifactFile), JSON.stringify(artifact, null, 2) + "\n");
  await writeAtomic(join(folder, "README.md"), card(store, folder, options, artifact));
}

/** The folder is new, empty, or holds an earlier state of this very store. */
async function takeable(store: OpenStore, folder: string): Promise<void> {
  await makeFolder(folder);
  const found = await readManifest(folder);
  if (found !== undefined) {
    const { store_id } = store.manifest.identity;
    if (found.identity.store_id === store_id) return;
    throw new AnalysisError(`${folder} holds another store`, {
      code: "store/other-store",
      expected: store_id,
      received: found.identity.store_id,
      hint: "choose a new folder",
    });
  }
  // What a fresh clone of a hub repository has may stay.
  const others = (await readdir(folder)).filter((name) => ![".git", ".gitattributes", "README.md"].includes(name));
  if (others.length > 0)
    throw new AnalysisError(`${folder} is not empty`, {
      code: "store/not-empty",
      received: others.slice(0, 5).join(", "),
    });
}

async function artifactOf(store: OpenStore, { split }: PushOptions): Promise<Artifact> {
  const { config, provenance } = store.manifest;
  const { versions } = provenanceOf(store.manifest);
  const data = config["data"];
  const named =
    provenance["split"] ?? (typeof data === "object" && data !== null && "split" in data ? data.split : null);
  const artifacts: Artifact["artifacts"] = [];
  for (const name of store.names)
    artifacts.push({
      name,
      split: split ?? (typeof named === "string" ? named : null),
      num_rows: (await store.examples(name)).length,
      columns: tableColumns(store, name, "examples"),
      interchange: "parquet",
    });
  const col_cfg = Object.fromEntries(store.names.map((name) => [name, store.entry(name).columns]));
  const { interpretune, backend } = versions;
  return {
    schema: 1,
    identity: { ...store.manifest.identity },
    provenance: {
      interpretune_version: typeof interpretune === "string" ? interpretune : null,
      content_fingerprint: await fingerprint(store),
      op_collections: [],
    },
    artifacts,
    interpretune: JSON.parse(
      JSON.stringify({ col_cfg, analysis_backend: backend ?? null, config_hash: store.manifest.config_hash }),
    ) as Artifact["interpretune"],
  };
}

function tableColumns(store: OpenStore, name: string, table: TableName): string[] {
  const { columns } = store.entry(name);
  if (table === "latents") return latentColumnNames(columns);
  if (table === "batches") return ["batch", ...columnsPer(columns, "batch").map(([column]) => column)];
  return ["example", "batch", ...columnsPer(columns, "example").map(([column]) => column)];
}

/** The card of the data set: what the hub reads, what people read. */
function card(store: OpenStore, folder: string, { title, license }: PushOptions, artifact: Artifact): string {
  const configs = store.names.flatMap((name) =>
    tablesOf(store.entry(name))
      .toReversed()
      .map((table) => ({ config_name: `${name}.${table}`, data_files: `${name}/${table}-*.parquet` })),
  );
  const head: Json = { ...(license !== undefined && { license }), tags: ["interpretune", "analysis-store"], configs };
  const lines = artifact.artifacts.map(({ name, num_rows }) => {
    const { description } = {
      description: provenanceOf(store.manifest)
        .analyses.find((each) => each.name === name)!
        .chain.join(" → "),
    };
    return `| \`${name}\` | ${num_rows} | ${description} |`;
  });
  return [
    `---\n${stringify(head)}---`,
    `# ${title ?? folder.split(/[/\\]/).findLast(Boolean) ?? "Analyses"}`,
    "Analyses of a language model with sparse autoencoders, as tidy tables: `examples` has a row for each example,",
    "`latents` one for each latent that is active in an example, `batches` one for each batch where an op has such columns.",
    "",
    "| analysis | examples | ops |\n| --- | --- | --- |",
    ...lines,
    "",
    "```ts",
    'import { AnalysisStore } from "interpretune";',
    "const store = await AnalysisStore.openPulled(folder);",
    "```",
    "",
    `Store \`${artifact.identity.store_id}\`, config \`${store.manifest.config_hash.slice(0, 16)}\`, made ${artifact.identity.created_utc}.`,
    "",
  ].join("\n");
}

/** The data set of an id. */
export function datasetRef(id: string): HubRef {
  const ref = parseHubRef(id, "dataset");
  if (ref !== undefined) return ref;
  throw new AnalysisError("this does not name a data set of the hub", {
    code: "store/hub-id",
    expected: "owner/name, or owner/name@revision",
    received: JSON.stringify(id),
  });
}

/** Uploads a store as a data set; its folder exists for as long as that takes. */
export async function uploadStore(
  store: OpenStore,
  id: string,
  options: PushOptions & UploadOptions,
): Promise<Uploaded> {
  const ref = datasetRef(id);
  const title = options.title ?? basename(store.folder);
  const folder = await mkdtemp(join(tmpdir(), "interpretune-push-"));
  try {
    await push(store, folder, { ...options, title });
    return await hubUpload(ref, folder, { message: `Upload ${title}`, ...options });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Whether a folder that was pulled is what was pushed. */
export async function checkPulled(store: OpenStore): Promise<void> {
  const path = join(store.folder, artifactFile);
  const fail = (received: string, cause?: unknown): never => {
    throw new AnalysisError(`${path} does not describe this store`, {
      code: "store/artifact",
      expected: `${artifactFile} as pushTo writes it, beside ${manifestFile}`,
      received,
      hint: "pull it again",
      cause,
    });
  };
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    return fail(systemCode(cause) ?? "nothing that can be read", cause);
  }
  let parsed: z.ZodSafeParseResult<Artifact>;
  try {
    parsed = artifactSchema.safeParse(JSON.parse(text));
  } catch (cause) {
    return fail("something that is not JSON", cause);
  }
  if (!parsed.success) return fail(z.prettifyError(parsed.error));
  const { identity, provenance } = parsed.data;
  if (identity.store_id !== store.manifest.identity.store_id) return fail(`the record of ${identity.store_id}`);
  await store.verify();
  if (provenance.content_fingerprint !== (await fingerprint(store))) return fail("tables that were changed since");
}
