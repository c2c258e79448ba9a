/** @file Adapters in PEFT's layout: adapter_config.json and adapter_model.safetensors. */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { makeFolder } from "../../formats/disk/folder.ts";
import {
  fileSource,
  hubSnapshot,
  openSafetensors,
  parseHubRef,
  writeFileAtomic,
  writeSafetensors,
  type HubOptions,
  type TensorData,
} from "../../formats/index.ts";
import { concat, leaf, reshape, transpose, type Tensor } from "../../graph/index.ts";
import { projectionFiles, type HookedModel, type ProjectionFile } from "../../model/index.ts";
import { TrainError } from "../errors.ts";
import { fansOf, loraOf, loraScale, sizesOf, type Lora, type LoraAdapter } from "./lora.ts";

const configName = "adapter_config.json";
const weightsName = "adapter_model.safetensors";

/** What PEFT calls the files of adapters. */
export const adapterFiles: readonly string[] = [configName, weightsName];

/** Whether a folder holds adapters. */
export const isAdapterFolder = (folder: string): Promise<boolean> =>
  stat(join(folder, configName)).then(
    () => true,
    () => false,
  );

/** The folder of adapters, brought to this machine where they are named by their id. */
async function folderOf(name: string, hub: HubOptions): Promise<string> {
  const ref = parseHubRef(name, "model");
  const here = await stat(name).then(
    () => true,
    () => false,
  );
  if (here || ref === undefined) return name;
  const { folder } = await hubSnapshot(ref, { ...hub, patterns: adapterFiles });
  return folder;
}

const configSchema = z.looseObject({
  peft_type: z.literal("LORA"),
  r: z.int().positive(),
  lora_alpha: z.number(),
  lora_dropout: z.number().min(0).lt(1).nullish(),
  use_rslora: z.boolean().nullish(),
  use_dora: z.literal(false).nullish(),
  use_qalora: z.literal(false).nullish(),
  lora_bias: z.literal(false).nullish(),
  layer_replication: z.null().or(z.array(z.never())).nullish(),
  alora_invocation_tokens: z.null().or(z.array(z.never())).nullish(),
  bias: z.literal("none").default("none"),
  modules_to_save: z.null().or(z.array(z.never())).nullish(),
  rank_pattern: z.record(z.string(), z.int().positive()).default({}),
  alpha_pattern: z.record(z.string(), z.number()).default({}),
});

const keyOf = (module: string, part: "A" | "B"): string => `base_model.model.${module}.lora_${part}.weight`;

/** The value of the pattern that a module's name ends with. */
const forModule = (patterns: Readonly<Record<string, number>>, module: string): number | undefined =>
  Object.entries(patterns).find(([name]) => module === name || module.endsWith(`.${name}`))?.[1];

/** The B [out, rank] of a file's tensor from those of its projections, each as wide as all ranks together. */
function fileRows(file: ProjectionFile, parts: readonly Tensor[], rank: number): Tensor {
  if (!toHeads(file)) return parts[0]!;
  const joined = file.layout.join(
    parts.map((part, i) => asProjection(part, file.shapes[i]!)),
    file.shapes.map((shape) => narrowed(shape, rank)),
  );
  return file.linear ? joined : transpose(joined);
}

/** The B of each projection that a file's tensor holds, from the file's. */
function partsOf(file: ProjectionFile, rows: Tensor, rank: number): Tensor[] {
  if (!toHeads(file)) return [rows];
  const shapes = file.shapes.map((shape) => narrowed(shape, rank));
  const split = file.layout.split(file.linear ? rows : transpose(rows), shapes);
  return split.map((part, i) => fromProjection(part, fansOf(file.params[i]!, file.shapes[i]!).fanOut));
}

/** Whether what comes out of it are heads, which files order in ways of their own. */
const toHeads = ({ params }: ProjectionFile): boolean => /\.W_[QKV]$/.test(params[0]!);

/** The shape of a projection to heads whose input has another width. */
const narrowed = ([h, , e]: readonly number[], width: number): number[] => [h!, width, e!];

/** B [out, rank] as a projection from `rank` wide inputs: [head, rank, d_head]. */
const asProjection = (B: Tensor, [h, , e]: readonly number[]): Tensor =>
  transpose(reshape(B, [h!, e!, sizesOf(B)[1]!]), [0, 2, 1]);

const fromProjection = (part: Tensor, fanOut: number): Tensor =>
  reshape(transpose(part, [0, 2, 1]), [fanOut, sizesOf(part)[1]!]);

/**
 * Writes adapters as PEFT does: `PeftModel.from_pretrained(base, folder)` reads them. A file's tensor that holds several
 * projections (GPT-2's `c_attn`) gets one adapter; where they do not share their A its rank is the sum of theirs.
 * @throws TrainError when the model is of no Hugging Face family; FormatError when the folder cannot be written
 * @example
 * await saveLora("my-adapter", addLora(model, { rank: 2 })); // adapter_config.json, adapter_model.safetensors
 */
export async function saveLora(folder: string, lora: Lora): Promise<void> {
  const { base, adapters } = lora;
  const tensors = new Map<string, TensorData>();
  const ranks: Record<string, number> = {};
  const alphas: Record<string, number> = {};
  const files = projectionFiles(base.cfg);
  if (files === undefined)
    throw new TrainError("PEFT's layout needs a model of a Hugging Face family", {
      code: "train/lora",
      received: base.cfg.original_architecture ?? base.cfg.model_name,
      hint: "merge the adapters and save the model",
    });
  const taken = files.filter(({ params }) => params.some((param) => adapters.has(param)));
  for (const file of taken) {
    const own = file.params.map((param) => adapters.get(param));
    const As = [...new Set(own.flatMap((adapter) => (adapter === undefined ? [] : [adapter.A])))];
    const widths = As.map((A) => sizesOf(A)[0]!);
    const rank = widths.reduce((a, b) => a + b);
    const scale = own.find((adapter) => adapter !== undefined)!.scale;
    const zeros = (rows: number, columns: number): Tensor => leaf(new Float32Array(rows * columns), [rows, columns]);
    const parts = file.params.map((param, i) => {
      const adapter = own[i];
      if (adapter === undefined) return zeros(fansOf(param, file.shapes[i]!).fanOut, rank);
      const at = As.indexOf(adapter.A);
      const [out, mine] = sizesOf(adapter.B) as [number, number];
      const before = widths.slice(0, at).reduce((a, b) => a + b, 0);
      return concat(
        [zeros(out, before), adapter.B, zeros(out, rank - before - mine)].filter((x) => sizesOf(x)[1]! > 0),
        1,
      );
    });
    const made = await base.runtime.realize({
      A: As.length === 1 ? As[0]! : concat(As, 0),
      B: fileRows(file, parts, rank),
    });
    tensors.set(keyOf(file.module, "A"), { dtype: "float32", shape: made.A.dims, data: made.A.data });
    tensors.set(keyOf(file.module, "B"), { dtype: "float32", shape: made.B.dims, data: made.B.data });
    ranks[file.module] = rank;
    alphas[file.module] = scale * rank;
  }
  const [first] = taken;
  const [r, alpha] = [ranks[first!.module]!, alphas[first!.module]!];
  const unlike = (all: Record<string, number>, usual: number): Record<string, number> =>
    Object.fromEntries(Object.entries(all).filter(([, value]) => value !== usual));
  const config = {
    alpha_pattern: unlike(alphas, alpha),
    base_model_name_or_path: base.cfg.model_name,
    bias: "none",
    fan_in_fan_out: !first!.linear,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: alpha,
    lora_dropout: lora.dropout,
    modules_to_save: null,
    peft_type: "LORA",
    r,
    rank_pattern: unlike(ranks, r),
    target_modules: taken.map(({ module }) => module),
    task_type: "CAUSAL_LM",
    use_dora: false,
    use_rslora: false,
  };
  await makeFolder(folder);
  await writeSafetensors(join(folder, weightsName), tensors, { format: "pt" });
  await writeFileAtomic(join(folder, configName), `${JSON.stringify(config, null, 2)}\n`);
}

/**
 * Reads adapters in PEFT's layout onto a model: those of a folder, or of an id on the hub (`owner/name`, `@revision`).
 * @throws TrainError for adapters of another kind, and for tensors that do not fit the model
 * @example
 * await saveLora("adapter", addLora(model, { rank: 2, targets: ["*.W_in"] }));
 * const { model: adapted, adapters } = await loadLora(model, "adapter");
 * adapters.size; // 12
 */
export async function loadLora(base: HookedModel, name: string, hub: HubOptions = {}): Promise<Lora> {
  const folder = await folderOf(name, hub);
  const where = join(folder, configName);
  const fail = (expected: string | undefined, received: string, cause?: unknown): TrainError =>
    new TrainError("these adapters cannot be used", { code: "train/lora", where, expected, received, cause });
  const text = await readFile(where, "utf8").catch((cause: unknown) => {
    throw fail("a folder as PEFT writes it", `no readable ${configName}`, cause);
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw fail("JSON", cause instanceof Error ? cause.message : String(cause), cause);
  }
  const parsed = configSchema.safeParse(value);
  if (!parsed.success)
    throw fail("LoRA without biases or DoRA", z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "));
  const config = parsed.data;
  const files = projectionFiles(base.cfg);
  if (files === undefined) throw fail("a model of a Hugging Face family", base.cfg.model_name);
  const opened = await openSafetensors(await fileSource(join(folder, weightsName)));
  try {
    const unread = new Set(opened.names);
    const adapters = new Map<string, LoraAdapter>();
    for (const file of files) {
      const [nameA, nameB] = [keyOf(file.module, "A"), keyOf(file.module, "B")];
      if (!opened.has(nameA) || !opened.has(nameB)) continue;
      const [A, B] = [opened.info(nameA).shape, opened.info(nameB).shape];
      const rank = forModule(config.rank_pattern, file.module) ?? config.r;
      const fanOut = file.params.reduce((sum, param, i) => sum + fansOf(param, file.shapes[i]!).fanOut, 0);
      const { fanIn } = fansOf(file.params[0]!, file.shapes[0]!);
      if (A.join() !== `${rank},${fanIn}` || B.join() !== `${fanOut},${rank}`)
        throw fail(
          `${file.module}: A [${rank}, ${fanIn}], B [${fanOut}, ${rank}]`,
          `A [${A.join(", ")}], B [${B.join(", ")}]`,
        );
      const parts = await base.runtime.realize(partsOf(file, leaf(await opened.readFloat32(nameB), B), rank));
      const shared = (await opened.readFloat32(nameA)).slice();
      const alpha = forModule(config.alpha_pattern, file.module) ?? config.lora_alpha;
      const scale = loraScale(alpha, rank, config.use_rslora === true);
      const owner = file.params.length === 1 ? file.params[0]! : file.module;
      const sharedA = leaf(shared, A, { name: `${owner}.lora_A` });
      file.params.forEach((param, i) =>
        adapters.set(param, {
          A: sharedA,
          B: leaf(parts[i]!.data, parts[i]!.dims, { name: `${param}.lora_B` }),
          scale,
        }),
      );
      unread.delete(nameA);
      unread.delete(nameB);
    }
    if (unread.size > 0 || adapters.size === 0)
      throw fail(
        `adapters of ${files
          .slice(0, 3)
          .map(({ module }) => module)
          .join(", ")}, …`,
        [...unread].slice(0, 3).join(", ") || "none",
      );
    return loraOf(base, adapters, config.lora_dropout ?? 0);
  } finally {
    await opened.close();
  }
}
