/** @file Modules and data modules from code that the user names: a path, or an installed package. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { SessionError } from "../errors.ts";
import type { DataModuleDefinition } from "./dataModule.ts";
import type { ModuleDefinition } from "./module.ts";

/** A module or a data module. */
export type Definition = ModuleDefinition | DataModuleDefinition;

export const isDefinition = (value: unknown): value is Definition =>
  typeof value === "object" &&
  value !== null &&
  "kind" in value &&
  (value.kind === "module" || value.kind === "datamodule") &&
  "create" in value &&
  typeof value.create === "function";

/** Imports what the user named. @internal */
export async function importNamed(name: string): Promise<Readonly<Record<string, unknown>>> {
  const isPath = /^[./]|^[A-Za-z]:[\\/]/.test(name);
  try {
    return (await import(isPath ? pathToFileURL(resolve(name)).href : name)) as Record<string, unknown>;
  } catch (cause) {
    throw new SessionError("a module that was listed cannot be imported", {
      code: "session/import",
      where: name,
      received: cause instanceof Error ? cause.message.split("\n")[0] : String(cause),
      hint: isPath ? "give the path of a JavaScript file" : "install the package",
      cause,
    });
  }
}

/**
 * The modules and data modules that listed files or packages export. Only what is listed is imported.
 * @throws SessionError when one cannot be imported or exports none
 * @example
 * const definitions = await loadDefinitions([]); // []
 */
export async function loadDefinitions(modules: readonly string[]): Promise<Definition[]> {
  const found: Definition[] = [];
  for (const name of modules) {
    const own = Object.values(await importNamed(name)).filter(isDefinition);
    if (own.length === 0)
      throw new SessionError("a module that was listed exports no module or data module", {
        code: "session/import",
        where: name,
        hint: "export what defineModule or defineDataModule returns",
      });
    found.push(...own);
  }
  return found;
}
