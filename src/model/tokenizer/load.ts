/** @file Tokenizers from a Hugging Face folder, a GGUF file, the hub and JSON. */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileSource, openGguf, type HubOptions } from "../../formats/index.ts";
import { findHubModel } from "../hub/hubModel.ts";
import { TokenizerError } from "./errors.ts";
import { tokenizerFromGguf } from "./gguf.ts";
import { isObject, parseJson, type JsonObject } from "./json.ts";
import { Tokenizer, type TokenizerFiles, type TokenizerOptions } from "./tokenizer.ts";

export interface LoadTokenizerOptions extends TokenizerOptions {
  /** How the hub is asked for a tokenizer that is given by its model's id. */
  hub?: HubOptions;
}

/**
 * Loads a tokenizer from a folder with tokenizer.json and, where they exist, tokenizer_config.json,
 * special_tokens_map.json, generation_config.json and chat_template.jinja; from a .gguf file; or from the hub by its model's id,
 * as `HookedModel.load` takes it.
 *
 * @throws TokenizerError when there is no tokenizer.json, or a file is malformed; ModelError for an id that is not there
 * @example
 * ```ts
 * const tokenizer = await loadTokenizer("models/gpt2", { paddingSide: "left" });
 * ```
 */
export async function loadTokenizer(name: string, given: LoadTokenizerOptions = {}): Promise<Tokenizer> {
  const { hub = {}, ...options } = given;
  const isHere = await stat(name).then(
    () => true,
    () => false,
  );
  const found = isHere ? undefined : await findHubModel(name, hub, "a folder with tokenizer.json, or a .gguf file");
  const gguf =
    found === undefined ? (/\.gguf$/i.test(name) ? name : undefined) : "gguf" in found ? found.gguf : undefined;
  if (gguf !== undefined) {
    const file = await openGguf(await fileSource(gguf));
    return Promise.resolve(tokenizerFromGguf(file.metadata, options)).finally(() => file.close());
  }
  const folder = found !== undefined && "folder" in found ? found.folder : name;
  const text = async (name: string): Promise<string | undefined> => {
    try {
      return await readFile(join(folder, name), "utf8");
    } catch (cause) {
      if (cause instanceof Error && "code" in cause && (cause.code === "ENOENT" || cause.code === "ENOTDIR"))
        return undefined;
      throw new TokenizerError("cannot read the file", { code: "tokenizer/read", where: join(folder, name), cause });
    }
  };
  const json = async (name: string): Promise<unknown> => {
    const content = await text(name);
    return content === undefined ? undefined : parseJson(content, join(folder, name));
  };
  const where = join(folder, "tokenizer.json");
  const [tokenizer, config, specialTokensMap, generationConfig, chatTemplate] = await Promise.all([
    json("tokenizer.json"),
    json("tokenizer_config.json"),
    json("special_tokens_map.json"),
    json("generation_config.json"),
    text("chat_template.jinja"),
  ]);
  if (tokenizer === undefined)
    throw new TokenizerError("no tokenizer.json here", {
      code: "tokenizer/missing",
      where: folder,
      hint: "tokenizers in older formats (vocab.json and merges.txt, tokenizer.model) are to be converted first",
    });
  return new Tokenizer(tokenizer, {
    ...options,
    config,
    specialTokensMap,
    generationConfig,
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
    where,
    folder,
  });
}

/**
 * A tokenizer from the parsed contents of tokenizer.json and tokenizer_config.json.
 *
 * @throws TokenizerError when they are malformed
 * @example
 * const model = { type: "WordLevel", vocab: { hello: 0, world: 1, "?": 2 }, unk_token: "?" };
 * const tokenizer = tokenizerFromJson({ model, added_tokens: [], pre_tokenizer: { type: "Whitespace" } });
 * tokenizer.encode("hello world").ids; // [0, 1]
 */
export function tokenizerFromJson(tokenizerJson: unknown, config?: unknown, options: TokenizerOptions = {}): Tokenizer {
  const files = (): TokenizerFiles => ({
    "tokenizer.json": tokenizerJson as JsonObject,
    ...(isObject(config) && { "tokenizer_config.json": config }),
  });
  return new Tokenizer(tokenizerJson, { ...options, config, files });
}
