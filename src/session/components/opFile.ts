/** @file A file of op compositions as data: what it says, with the place of everything; ops are made of it by the layer above. */
import { checked } from "../config/read.ts";
import { camelised } from "../config/schema.ts";
import { configFault, placeOf, plain, type Entry, type Located, type LocatedMap } from "../config/yaml.ts";
import type { OpFile } from "../protocol.ts";
import { checkWindow } from "./manifest.ts";

/**
 * A file of compositions, checked as far as that goes without the ops: `collection: { name, version, requires }` and
 * `composite_operations: name → { composition, … }`.
 * @param owner the component that it belongs to
 * @param version of this package, where its window is to be checked
 * @throws SessionError with file, line and column; for a file that names code
 */
export function opFileOf(node: Located, { owner = "", version }: { owner?: string; version?: string } = {}): OpFile {
  const entries = node.kind === "map" ? node.entries : new Map<string, Entry>();
  const all = entries.get("composite_operations");
  for (const [name, { where, value }] of entries) {
    if (value.kind === "map") refuseCode(value);
    if (all !== undefined && name !== "composite_operations" && name !== "collection")
      throw configFault("a file of compositions has no such part", where, {
        expected: "collection, composite_operations",
        received: name,
      });
  }
  if (all?.value.kind !== "map")
    throw configFault("a file of compositions has composite_operations", all?.value.where ?? node.where, {
      expected: "composite_operations: name: composition: …",
    });
  for (const { value } of all.value.entries.values()) if (value.kind === "map") refuseCode(value);
  const header = entries.get("collection")?.value ?? ({ ...all.value, entries: new Map<string, Entry>() } as const);
  const place = (path: readonly PropertyKey[], ofKey: boolean): string => placeOf(header, path, ofKey);
  const collection = camelised("OpCollection", checked("OpCollection", plain(header), "snake", place));
  if (version !== undefined)
    checkWindow(collection.requires.interpretune, version, place(["requires", "interpretune"], false));
  const namespaces = [...new Set([collection.name, owner])].filter((name) => name !== "");
  return { namespaces, compositions: all.value };
}

/** Python's op files name functions; here only compositions of ops that are there are data. */
function refuseCode(node: LocatedMap): void {
  const code = [...node.entries].find(([name]) => name === "implementation" || name === "importable_params");
  if (code !== undefined)
    throw configFault("an op file cannot name code", code[1].where, {
      code: "session/component",
      hint: "put the op into a package with defineOp, and list the package",
    });
}
