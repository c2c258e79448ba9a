/** @file Bytes: byte sources and the file formats of weights. */
export { FormatError } from "./errors.ts";
export { blobSource, byteSource, memorySource, type ByteReader, type ByteSource } from "./byteSource.ts";
export { fileAtRest, fileSource } from "./disk/fileSource.ts";
export { urlSource, type UrlSourceOptions } from "./urlSource.ts";
export { writeFileAtomic } from "./disk/atomicFile.ts";
export { type TensorFile, type TensorInfo } from "./tensorFile.ts";
export { openSafetensors } from "./safetensors/safetensors.ts";
export {
  encodeSafetensors,
  safetensorsPieces,
  writeSafetensors,
  type NamedTensors,
  type TensorData,
} from "./safetensors/writer.ts";
export {
  checkpointFiles,
  hasCheckpoint,
  openCheckpoint,
  writeCheckpoint,
  type CheckpointOptions,
  type OpenFile,
  type WriteCheckpointOptions,
} from "./checkpoint.ts";
export { openGguf } from "./gguf/gguf.ts";
export { type GgufArray, type GgufValue } from "./gguf/header.ts";
export { readNpy, type NpyArray } from "./numpy/npy.ts";
export { openNpz } from "./numpy/npz.ts";
export { openTorchPickle, type TorchValue } from "./torch/torchPickle.ts";
export { canonicalJson, jsonHash, type Json, type JsonObject } from "./canonicalJson.ts";
export * from "./hub/index.ts";
