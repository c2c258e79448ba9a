/** @file The float32 tensors of a plain PyTorch state dict, without running its pickle. */
import { fileSource } from "../../src/formats/index.ts";
import { readZipDirectory, readZipMember } from "../../src/formats/zip.ts";

/**
 * Reads whole, contiguous float32 tensors by name. The pickle is only searched for strings: the name of each tensor and the
 * number of its storage after it.
 */
export async function torchTensors(path: string, names: readonly string[]): Promise<Map<string, Float32Array>> {
  const source = await fileSource(path);
  try {
    const members = await readZipDirectory(source);
    const member = async (suffix: string): Promise<ArrayBuffer> => {
      const found = members.find(({ name }) => name.endsWith(`/${suffix}`));
      if (found === undefined) throw new Error(`${path} has no ${suffix}`);
      return readZipMember(source, found);
    };
    const texts = strings(new Uint8Array(await member("data.pkl")));
    const out = new Map<string, Float32Array>();
    for (const name of names) {
      const storage = texts.slice(texts.indexOf(name) + 1).find((text) => /^\d+$/.test(text));
      if (!texts.includes(name) || storage === undefined) throw new Error(`${path} has no tensor ${name}`);
      out.set(name, new Float32Array(await member(`data/${storage}`)));
    }
    return out;
  } finally {
    await source.close();
  }
}

/** Unicode strings of a pickle in their order: `X`, four bytes of length, UTF-8. */
function strings(pickle: Uint8Array): string[] {
  const view = new DataView(pickle.buffer, pickle.byteOffset, pickle.byteLength);
  const out: string[] = [];
  for (let at = 0; at + 5 <= pickle.length; at++) {
    if (pickle[at] !== 0x58) continue;
    const length = view.getUint32(at + 1, true);
    const end = at + 5 + length;
    if (length > 200 || end > pickle.length) continue;
    out.push(new TextDecoder().decode(pickle.subarray(at + 5, end)));
    at = end - 1;
  }
  return out;
}
