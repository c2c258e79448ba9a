/** Every example of the docstrings, of README.md and of the guide compiles, runs, and says rightly what comes of it. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import packageJson from "../package.json" with { type: "json" };
import { leaf } from "../src/graph/index.ts";
import { allExamples, docstringExamples, fencedExamples, repository, runExample } from "./support/docExamples.ts";
import { useExamples, type ExampleScope } from "./support/exampleScope.ts";
import { compileExamples, typeErrors, undocumented, type ExampleProgram } from "./support/exampleTypes.ts";

type Names = Readonly<Record<string, unknown>>;

describe("the documentation", () => {
  const examples = allExamples();
  /** The sources behind the entries of package.json, by the name they are imported under. */
  const packages = new Map(
    Object.entries(packageJson.exports).flatMap(([path, target]) =>
      typeof target === "string"
        ? []
        : [[join(packageJson.name, path), target.default.replace("./dist/", "src/").replace(/\.js$/, ".ts")] as const],
    ),
  );
  const modules = new Map<string, Names>();
  let scope: ExampleScope;
  let leave: () => Promise<void>;
  /** Where names come from that an example does not import: the public entries, then its own file. */
  const modulesOf = (file: string): string[] => [...packages.values(), ...(file.endsWith(".ts") ? [file] : [])];

  beforeAll(async () => {
    for (const file of new Set(examples.flatMap((example) => modulesOf(example.file))))
      modules.set(file, (await import(/* @vite-ignore */ join(repository, file))) as Names);
    ({ scope, leave } = await useExamples());
  });
  afterAll(() => leave());

  test.each(examples)("$file, line $line", async (example) => {
    const sources = modulesOf(example.file).map((file) => modules.get(file)!);
    const names = Object.assign({}, ...sources.reverse(), scope) as Names;
    const imports = Object.fromEntries([...packages].map(([name, file]) => [name, modules.get(file)!]));
    const writes = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, "write").mockReturnValue(true));
    try {
      await runExample(example, names, imports);
    } finally {
      for (const write of writes) write.mockRestore();
    }
  });

  describe("compiled", () => {
    const wrong = [
      { file: "src/graph/axis.ts", line: 7, code: "\nconst size: string = axis(`batch`);" },
      { file: "src/graph/axis.ts", line: 7, code: "prompt.length;" },
    ];
    let compiled: ExampleProgram;
    beforeAll(() => {
      compiled = compileExamples([...examples, ...wrong], {
        packages,
        scope: ["test/support/exampleScope.ts", Object.keys(scope)],
        modules: ({ file }) => modulesOf(file).map((from) => [from, Object.keys(modules.get(from)!)] as const),
      });
    });

    test("its examples are right under the compiler's strict rules", () => {
      expect(typeErrors(compiled)).toEqual([
        "src/graph/axis.ts:8: Type 'Axis' is not assignable to type 'string'.",
        "src/graph/axis.ts:7: Cannot find name 'prompt'.",
      ]);
    });

    test("is there for every public function and class", () => {
      expect([...packages.values()].flatMap((module) => undocumented(compiled, module)).sort()).toEqual([]);
    });

    test("is missed where it is not there", () => {
      expect(undocumented(compiled, "src/graph/ops/shape.ts")).toEqual([
        "src/graph/ops/shape.ts: alignShapes has no example",
      ]);
    });
  });
});

describe("finding examples", () => {
  test("in docstrings, with and without fence, up to the next tag", () => {
    const text = [
      "/** Doubles.",
      " * @example",
      " * ```ts",
      " * double(2); // 4",
      " * ```",
      " * @throws never",
      " */",
      "  /**",
      "   * @example",
      "   * if (a) {",
      "   *   b();",
      "   * }",
      "   * @example",
      "   * c(); */",
    ].join("\n");
    const found = docstringExamples("a.ts", text).map(({ line, code }) => [line, code]);
    expect(found).toEqual([
      [3, "\ndouble(2); // 4\n"],
      [10, "if (a) {\n  b();\n}"],
      [14, "c();"],
    ]);
  });

  test("in Markdown, TypeScript only", () => {
    const text = "# A\n\n```sh\nnpm i\n```\n\n```ts\na();\nb();\n```\n";
    expect(fencedExamples("A.md", text)).toEqual([{ file: "A.md", line: 8, code: "a();\nb();\n" }]);
  });
});

describe("what an example states", () => {
  const x = leaf(new Float32Array(6), [2, 3]);
  const run = (code: string): Promise<void> =>
    runExample({ file: "a.ts", line: 10, code }, { x }, { pack: { two: 2 } });

  test.each([
    ["1 + 1; // 2"],
    ["const y = 1 + 1; // 2"],
    ["const { length } = [0, 0]; // 2"],
    ["await Promise.resolve(2); // 2: two"],
    ["Int32Array.of(1, 2); // Int32Array [1, 2]"],
    ['({ a: [`b`, { c: 1 }] });\n// { a: ["b", { c: 1 }] }'],
    ["x; // [2, 3]"],
    ["x; // [batch, pos]"],
    ["x.shape; // [batch, pos]"],
    ['console.log(1, [`a`], `b c`); // 1 ["a"] b c'],
    ["for (const n of [1, 1]) {\n  n; // 1\n}"],
    ["const f = (): number => 3; // what `f` is for"],
    ['import { two } from "pack";\nconst y = two; // 2'],
  ])("%s", async (code) => {
    await run(code);
  });

  test.each([
    ["\n1 + 1; // 3", "line 11 states “3” but it is “2”"],
    ["const [y] = [1]; // 2", "line 10 states “2” but it is “1”"],
    ["console.log(1, 2); // 1 3", "line 10 states “1 3” but it is “1 2”"],
    ["x; // [3, pos]", "but the shape is [2, 3]"],
    ["x; // [batch]", "but the shape is [2, 3]"],
    ["if (1 > 2) {\n  x; // [2, 3]\n}", "line 11 states “[2, 3]” but never runs"],
    ["const y = 1,\n  z = 2; // 2", "line 10: “2” stands behind no value"],
    ["y + 1;", "y is not defined"],
    ['import { two } from "other";\ntwo; // 2', "there is no package other"],
  ])("%s is wrong", async (code, message) => {
    await expect(run(code)).rejects.toThrow(message);
  });
});
