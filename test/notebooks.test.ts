/** The tutorials' notebooks are the programs, and run in Deno's Jupyter kernel where that is installed. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { notebookOf } from "../scripts/notebook.mjs";
import { repository } from "./support/docExamples.ts";
import { useExamples } from "./support/exampleScope.ts";

const tutorials = ["tutorial-ops", "tutorial-explicit"];
const examples = join(repository, "examples");

test.each(tutorials)("%s.ipynb is made of the program (node scripts/notebook.mjs examples/*.ts)", (name) => {
  const [program, notebook] = ["ts", "ipynb"].map((end) => readFileSync(join(examples, `${name}.${end}`), "utf8"));
  expect(notebook).toBe(notebookOf(program!));
});

const runs = (command: string, ...args: string[]): string => {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout : "";
};
const missing = [
  runs("jupyter", "nbconvert", "--version") === "" ? "jupyter nbconvert" : "",
  runs("jupyter", "kernelspec", "list").includes("deno")
    ? ""
    : "Deno's kernel (npm i --no-save deno, npx deno jupyter --install)",
  existsSync(join(repository, "dist/index.js")) ? "" : "the build (npm run build)",
].filter(Boolean);
if (missing.length > 0) console.warn(`SKIPPED: notebooks are not executed; missing: ${missing.join("; ")}`);

interface Notebook {
  readonly cells: readonly {
    readonly cell_type: string;
    readonly outputs?: readonly { readonly data?: object; readonly text?: string[] }[];
  }[];
}

describe.skipIf(missing.length > 0)("in the kernel", () => {
  let home: string;
  let out: string;
  let leave: () => Promise<void>;
  beforeAll(async () => {
    ({ leave } = await useExamples());
    home = process.cwd();
    out = mkdtempSync(join(tmpdir(), "interpretune-notebooks-"));
  });
  afterAll(async () => {
    await leave();
    rmSync(out, { recursive: true });
  });

  test.each(tutorials)("%s", (name) => {
    const env = {
      ...process.env,
      INTERPRETUNE_MODEL: join(home, "models/gpt2"),
      INTERPRETUNE_SAES: ["9", "10"].map((layer) => join(home, `saes/blocks.${layer}.hook_z`)).join(":"),
      INTERPRETUNE_DATA: join(home, "rte/validation.jsonl"),
    };
    const args = ["nbconvert", "--to", "notebook", "--execute", "--output-dir", out, `${name}.ipynb`];
    execFileSync("jupyter", args, { cwd: examples, env, stdio: "pipe" });
    const { cells } = JSON.parse(readFileSync(join(out, `${name}.ipynb`), "utf8")) as Notebook;
    const outputs = cells.flatMap((cell) => cell.outputs ?? []);
    const kinds = outputs.flatMap(({ data = {} }) => Object.keys(data));
    expect(kinds).toContain("text/html");
    expect(kinds).toContain("image/svg+xml");
    expect(JSON.stringify(outputs)).toContain("Clean Logit Diff");
  });
});
