// Makes a notebook for Deno's Jupyter kernel of a program in cells (`// %%`, `// %% [markdown]`): examples/NAME.ts → NAME.ipynb.
import { readFileSync, writeFileSync } from "node:fs";

/** The notebook's text. */
export function notebookOf(source) {
  const cells = source
    .split(/^(?=\/\/ %%)/m)
    .filter((cell) => cell.startsWith("// %%"))
    .map((cell, i) => {
      const [head, ...lines] = cell.trim().split("\n");
      const markdown = head.includes("[markdown]");
      const body = markdown ? lines.map((line) => line.replace(/^\/\/ ?/, "")) : lines;
      const text = body.map((line, at) => (at + 1 < body.length ? `${line}\n` : line));
      const id = `cell-${i}`;
      if (markdown) return { cell_type: "markdown", id, metadata: {}, source: text };
      return { cell_type: "code", execution_count: null, id, metadata: {}, outputs: [], source: text };
    });
  const metadata = {
    kernelspec: { display_name: "Deno", language: "typescript", name: "deno" },
    language_info: { file_extension: ".ts", mimetype: "text/x.typescript", name: "typescript" },
  };
  return JSON.stringify({ cells, metadata, nbformat: 4, nbformat_minor: 5 }, null, 1) + "\n";
}

if (process.argv[1] === import.meta.filename)
  for (const path of process.argv.slice(2))
    writeFileSync(path.replace(/\.ts$/, ".ipynb"), notebookOf(readFileSync(path, "utf8")));
