/** @file What the examples of docstrings find at hand: names, and the files that they open. */
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { analyzeDataset, withAnswers, type AnsweredBatch } from "../../src/analysis/index.ts";
import { openDataset } from "../../src/data/index.ts";
import { leaf, type Tensor } from "../../src/graph/index.ts";
import { HookedModel, type Tokenizer } from "../../src/model/index.ts";
import { saveModel } from "../../src/model/files/save.ts";
import { defaultRuntime, type Runtime } from "../../src/runtime/index.ts";
import { Sae, Transcoder } from "../../src/sae/index.ts";
import { GgufBytes } from "../support/ggufBytes.ts";
import { repository } from "./docExamples.ts";
import { randomSae } from "./random.ts";

/** Names that an example may use without saying where they come from. */
export interface ExampleScope {
  /** `models/gpt2` */
  readonly model: HookedModel;
  /** Its tokenizer, with a chat template. */
  readonly tokenizer: Tokenizer;
  /** `saes/*`, at blocks 9 and 10 */
  readonly saes: Sae[];
  /** For values [..., 32] */
  readonly sae: Sae;
  /** For values [..., 32]; it is `transcoders/blocks.9.mlp`, too. */
  readonly transcoder: Transcoder;
  readonly prompts: string[];
  /** Of the prompts, with their answers. */
  readonly batch: AnsweredBatch;
  /** float32 [2, 3, 32] */
  readonly x: Tensor;
  readonly runtime: Runtime;
}

/** The words of the examples, with the ids and merges that GPT-2's own tokenizer has for them. */
const wordsOfGpt2 = "test/goldens/text/gpt2-words.tokenizer.json";
const chatTemplate =
  "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";

/** GPT-2's layers, heads' names and vocabulary at a width of 32. */
const config = {
  original_architecture: "GPT2LMHeadModel",
  n_layers: 12,
  d_model: 32,
  n_ctx: 256,
  n_heads: 4,
  d_head: 8,
  d_mlp: 64,
  d_vocab: 50257,
  d_vocab_out: 50257,
  act_fn: "gelu_new",
  tie_word_embeddings: true,
} as const;

const rows = [
  { premise: "The cat sat on the mat.", hypothesis: "Nobody slept.", label: 1 },
  { premise: "It rained all day.", hypothesis: "The ground is wet.", label: 0 },
  { premise: "The cat sat on the mat.", hypothesis: "The cat is an animal.", label: 0 },
];

/**
 * Goes to a fresh folder that holds every file the examples open, and loads what they find at hand. Downloads read that
 * folder, too.
 */
export async function useExamples(): Promise<{ scope: ExampleScope; leave: () => Promise<void> }> {
  const home = process.cwd();
  const { fetch } = globalThis;
  const folder = await mkdtemp(join(tmpdir(), "interpretune-examples-"));
  process.chdir(folder);
  globalThis.fetch = serveFile;
  const { HF_HUB_CACHE: cache } = process.env;
  process.env["HF_HUB_CACHE"] = join(folder, "cache");
  const leave = async (): Promise<void> => {
    globalThis.fetch = fetch;
    if (cache === undefined) delete process.env["HF_HUB_CACHE"];
    else process.env["HF_HUB_CACHE"] = cache;
    process.chdir(home);
    await rm(folder, { recursive: true });
  };
  for (const part of ["model", "saes", "data"])
    await cp(join(repository, "demo", part), join("demo", part), { recursive: true });
  await writeModel("models/gpt2");
  const model = await HookedModel.load("models/gpt2");
  for (const layer of [9, 10])
    await randomSae(model, `blocks.${layer}.attn.hook_z`, "topk", 512, layer).save(`saes/blocks.${layer}.hook_z`);
  const saes = await Promise.all(["saes/blocks.9.hook_z", "saes/blocks.10.hook_z"].map((path) => Sae.load(path)));
  await copyFile("models/gpt2/model.safetensors", "model.safetensors");
  await writeFile("model.Q4_1.gguf", gguf());
  await copyFile(join(repository, "test/goldens/numpy/version2.npy"), "activations.npy");
  await copyFile(join(repository, "test/goldens/saes/foreign/npz-resid/source", params), "params.npz");
  await copyFile(join(repository, "test/goldens/saes/foreign/torch-pickle-hook-z/source", hookZ), "sae.pt");
  const hookZFiles = join(repository, "test/goldens/torch/hook-z");
  await keep("models--ckkissane--attn-saes-gpt2-small-all-layers", hookZFiles);
  await keep("models--openai-community--gpt2", "models/gpt2");
  await Promise.all(["rte", "weights"].map((path) => mkdir(path)));
  await writeFile("rte/validation.jsonl", rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  await keep("datasets--aps--super_glue", "rte");
  await writeFile(
    "rte.yaml",
    "shared_config: {model_name_or_path: models/gpt2, task_name: rte}\nadapter_ctx: [core]\n",
  );
  await analyzeDataset({ model, saes, data: await openDataset("rte/validation.jsonl"), batchSize: 2, out: "runs/rte" });
  const array = (...dims: number[]) => ({
    dims,
    data: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.cos(i) / 8),
  });
  const transcoder = Transcoder.fromParams(
    {
      architecture: "transcoder",
      d_in: 32,
      d_sae: 64,
      metadata: { hook_name: "blocks.9.ln2.hook_normalized", hook_name_out: "blocks.9.hook_mlp_out" },
    },
    { W_enc: array(32, 64), b_enc: array(64), W_dec: array(64, 32), b_dec: array(32) },
  );
  await transcoder.save("transcoders/blocks.9.mlp");
  const prompts = ["The Eiffel Tower is in", "Once upon a time"];
  const scope = {
    model,
    tokenizer: model.tokenizer,
    saes,
    sae: randomSae(model, "blocks.9.hook_resid_pre", "standard", 64, 1),
    transcoder,
    prompts,
    batch: withAnswers(model.batch(prompts), { ids: [5297, 2949], labels: [0, 1] }),
    x: leaf(
      Float32Array.from({ length: 192 }, (_, i) => Math.sin(i)),
      [2, 3, 32],
    ),
    runtime: defaultRuntime(),
  };
  return { scope, leave };
}

const params = "layer_4/width_16k/average_l0_20/params.npz";
const hookZ = "tiny_L3_Hcat_z_lr1.20e-03_v9.pt";

/** Puts a folder's files into the hub's cache, as a repository's newest. */
async function keep(repository: string, files: string): Promise<void> {
  const commit = "0123456789abcdef0123456789abcdef01234567";
  await cp(files, `cache/${repository}/snapshots/${commit}`, { recursive: true });
  await mkdir(`cache/${repository}/refs`);
  await writeFile(`cache/${repository}/refs/main`, commit);
}

/** GPT-2 in small, with its tokenizer. */
export async function writeModel(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await saveModel(folder, HookedModel.fromConfig(config));
  await copyFile(join(repository, wordsOfGpt2), join(folder, "tokenizer.json"));
  const special = { bos_token: "<|endoftext|>", eos_token: "<|endoftext|>", unk_token: "<|endoftext|>" };
  const tokenizerConfig = { ...special, tokenizer_class: "GPT2Tokenizer", chat_template: chatTemplate };
  await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(tokenizerConfig));
}

/** A Llama's embedding and byte-level tokenizer, as GGUF has them. */
function gguf(): Uint8Array {
  const strings = (bytes: GgufBytes, key: string, values: readonly string[]): void => {
    bytes.string(key).u32(9, 8).u64(values.length);
    for (const value of values) bytes.string(value);
  };
  const tokens = ["I", "n", "Ġ", "2", "0", "4", "In"];
  const bytes = new GgufBytes().start(1, 4);
  bytes.string("general.architecture").u32(8).string("llama");
  bytes.string("tokenizer.ggml.model").u32(8).string("gpt2");
  strings(bytes, "tokenizer.ggml.tokens", tokens);
  strings(bytes, "tokenizer.ggml.merges", ["I n"]);
  return bytes
    .tensor("token_embd.weight", [8, tokens.length], 0, 0)
    .data(4 * 8 * tokens.length)
    .done();
}

/** Answers a range request with the file of the same name. */
async function serveFile(url: string | URL | Request, init?: RequestInit): Promise<Response> {
  const request = new Request(url, init);
  const bytes = await readFile(new URL(request.url).pathname.split("/").at(-1)!);
  const [first, last] = /^bytes=(\d+)-(\d+)$/
    .exec(request.headers.get("range") ?? "")!
    .slice(1)
    .map(Number);
  const range = `bytes ${first}-${last}/${bytes.byteLength}`;
  return new Response(bytes.subarray(first, last! + 1), { status: 206, headers: { "content-range": range } });
}
