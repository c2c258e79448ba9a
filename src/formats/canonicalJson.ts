/** @file Configs as canonical JSON: the same config has the same text, hence the same hash. */
import { createHash } from "node:crypto";
import { FormatError } from "./errors.ts";

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined };
export type JsonObject = { readonly [key: string]: Json | undefined };

/**
 * JSON with sorted keys and no spaces; absent (undefined) values are left out. NaN and infinities are an error.
 * @example
 * canonicalJson({ b: [1, 2], a: null }); // '{"a":null,"b":[1,2]}'
 */
export function canonicalJson(value: Json, where = "config"): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number" && Number.isFinite(value)) return JSON.stringify(value);
  if (isList(value)) return `[${value.map((item, i) => canonicalJson(item, `${where}[${i}]`)).join(",")}]`;
  if (typeof value === "object") {
    const parts = Object.keys(value)
      .sort()
      .flatMap((key) => {
        const item = value[key];
        return item === undefined ? [] : [`${JSON.stringify(key)}:${canonicalJson(item, `${where}.${key}`)}`];
      });
    return `{${parts.join(",")}}`;
  }
  throw new FormatError("a config holds only JSON values", {
    code: "formats/config",
    where,
    received: String(value),
  });
}

/**
 * SHA-256 of the canonical JSON, in hexadecimal.
 * @example
 * jsonHash({ b: 1, a: 2 }) === jsonHash({ a: 2, b: 1 }); // true
 */
export function jsonHash(value: Json): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex");
}

/** Where two configs differ: `path: A there, B here`, one line each. */
export function differences(there: Json | undefined, here: Json | undefined, path = ""): string[] {
  const text = (value: Json | undefined): string => (value === undefined ? "nothing" : canonicalJson(value));
  if (isRecord(there) && isRecord(here)) {
    const keys = [...new Set([...Object.keys(there), ...Object.keys(here)])].sort();
    return keys.flatMap((key) => differences(there[key], here[key], path ? `${path}.${key}` : key));
  }
  return text(there) === text(here) ? [] : [`${path}: ${text(there)} there, ${text(here)} here`];
}

function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

function isRecord(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !isList(value);
}
