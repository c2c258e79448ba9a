/** @file The script of a report page: our own compiled modules, joined into one that imports nothing. */
import { readFile } from "node:fs/promises";

const importLine = /^import\s*(?:\{([^}]*)\}\s*from\s*)?["']([^"']+)["'];?[ \t]*$/gm;
const exportWord = /^export\s+(?=(?:async\s+)?function\s|const\s|class\s)/gm;
const exportedName = /^export\s+(?:async\s+)?(?:function|const|class)\s+([A-Za-z_$][\w$]*)/gm;
const emptyExport = /^export\s*\{\s*\};?[ \t]*$/gm;
const comments = /^\s*\/\*\*(?:[^*]|\*(?!\/))*\*\/[ \t]*\n|^\s*\/\/.*\n/gm;

/** Compiled modules are read as they are; sources, in tests, lose their types first. */
async function compiled(url: URL): Promise<string> {
  const text = await readFile(url, "utf8");
  if (!url.pathname.endsWith(".ts")) return text;
  const { default: ts } = await import("typescript");
  const { ESNext } = ts.ModuleKind;
  const options = { module: ESNext, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: true };
  return ts.transpileModule(text, { compilerOptions: options }).outputText;
}

/**
 * A module and everything it imports as one script. Only named imports and named exports of our own files are
 * understood: each module becomes a function that returns its exports.
 */
export async function joinModules(entry: URL): Promise<string> {
  const names = new Map<string, string>();
  const parts: string[] = [];
  const add = async (url: URL): Promise<string> => {
    const known = names.get(url.href);
    if (known !== undefined) return known;
    const name = `module${names.size}`;
    names.set(url.href, name);
    const source = await compiled(url);
    const from: string[] = [];
    for (const [, bindings, path] of source.matchAll(importLine)) {
      const other = await add(new URL(path!, url));
      if (bindings !== undefined) from.push(`const {${bindings.replaceAll(" as ", ": ")}} = ${other};`);
    }
    const exports = [...source.matchAll(exportedName)].map(([, found]) => found);
    const body = [importLine, emptyExport, exportWord, comments].reduce((text, what) => text.replace(what, ""), source);
    const text = body.replace(/^\/\/# sourceMappingURL=.*$/gm, "").trim();
    parts.push(`const ${name} = (() => {\n${from.join("\n")}\n${text}\nreturn { ${exports.join(", ")} };\n})();`);
    return name;
  };
  await add(entry);
  return `"use strict";\n${parts.join("\n")}`;
}

/** The page's own script. */
export function pageScript(): Promise<string> {
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  return joinModules(new URL(`./page/main${extension}`, import.meta.url));
}
