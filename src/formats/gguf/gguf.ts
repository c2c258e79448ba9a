/** @file Reading GGUF, the file format of llama.cpp. */
import { type ByteSource } from "../byteSource.ts";
import { readGgufHeader, type GgufValue } from "./header.ts";
import { tensorFile, type TensorFile } from "../tensorFile.ts";

/**
 * Open a GGUF file (version 2 or 3, little-endian, one file). Reads and checks the header only. Shapes are outermost first,
 * as in PyTorch, the reverse of the file's `ne`. Quantised tensors are decoded to float32, bit for bit as ggml does.
 * Whatever is wrong is a `FormatError`; the source is then closed. Tensors of types that are not supported are listed
 * but cannot be read.
 *
 * @example
 * ```ts
 * const file = await openGguf(await fileSource("model.Q4_1.gguf"));
 * console.log(file.metadata.get("general.architecture")); // llama
 * file.info("token_embd.weight").shape; // [d_vocab, d_model]
 * const embedding = await file.readFloat32("token_embd.weight");
 * ```
 */
export async function openGguf(source: ByteSource): Promise<TensorFile<GgufValue>> {
  try {
    return tensorFile(source, await readGgufHeader(source));
  } catch (error) {
    await source.close();
    throw error;
  }
}
