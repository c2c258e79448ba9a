import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadComponent } from "./component.ts";
import { isInWindow } from "./versions.ts";

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "interpretune-component-"));
});
afterAll(() => rmSync(root, { recursive: true }));

/** A folder with these files. */
function component(name: string, files: Readonly<Record<string, string>>): string {
  for (const [file, text] of Object.entries(files)) {
    const path = join(root, name, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  return join(root, name);
}

const entry = "reg_info: {model_src_key: tiny, model_cfg_key: demo, adapter_combinations: [[core]]}\n";
const whole = {
  "it_component.yaml": `it_schema_version: 1
name: demo
kinds: [module, ops, promptconfigs]
requires: {interpretune: ">=0.1,<99", adapters: [core]}
module: {configs: {demo.tiny.core: configs/demo.tiny.core.yaml}}
promptconfigs: {definitions: {Short: prompts/short.yaml}}
ops: {files: [ops.yaml]}
`,
  "configs/demo.tiny.core.yaml": entry,
  "prompts/short.yaml": "class_path: InlinePromptConfig\ninit_args: {question_suffix: '?'}\n",
  "ops.yaml":
    "composite_operations:\n  mine: {composition: model_forward.logit_diffs, aliases: [m], description: Two in a row}\n",
};

describe("a shared component", () => {
  it("loads its configurations, prompts and compositions as data", async () => {
    const { registry, promptConfigs, compositions, opFiles, definitions, manifest } = await loadComponent(
      component("whole", whole),
    );
    expect(manifest.name).toBe("demo");
    expect(registry.get("demo.tiny.core").adapters).toEqual(["core"]);
    expect(promptConfigs["Short"]).toMatchObject({ style: "inline", questionSuffix: "?", chat: "plain" });
    expect(compositions).toEqual([
      {
        name: "mine",
        composition: "model_forward.logit_diffs",
        aliases: ["m"],
        description: "Two in a row",
        params: {},
        traits: {},
      },
    ]);
    expect(opFiles.map(({ namespaces }) => namespaces)).toEqual([["demo"]]);
    expect(definitions).toEqual([]);
  });

  it("is found behind an id of a hub by the resolver, and may take prompts of another", async () => {
    const folder = component("whole", whole);
    const other = component("other", {
      "it_component.yaml": "promptconfigs: {definitions: {Theirs: p.yaml}}\n",
      "p.yaml": "compose_ref: org/demo#Short\n",
    });
    const resources = { component: (id: string): Promise<string> => Promise.resolve(id === "org/demo" ? folder : id) };
    const { promptConfigs } = await loadComponent(other, { resources });
    const { opFiles } = await loadComponent("org/demo", { resources });
    expect(opFiles.map(({ namespaces }) => namespaces)).toEqual([["org.demo"]]);
    expect(promptConfigs["Theirs"]!.questionSuffix).toBe("?");
    await expect(loadComponent("org/none")).rejects.toThrow("the path of its folder, or owner/name");
    const circle = component("circle", {
      "it_component.yaml": "promptconfigs: {definitions: {A: a.yaml}}\n",
      "a.yaml": `compose_ref: ${join(root, "circle")}#A\n`,
    });
    await expect(loadComponent(circle)).rejects.toThrow("in a circle");
  });

  it.each([
    ["for another version", "requires: {interpretune: '>=9'}\n", "it_component.yaml:1:26; expected >=9"],
    ["with a window that is none", "requires: {interpretune: new}\n", "this is no version window"],
    ["of another shape", "it_schema_version: 2\n", "this version of the manifest is not known"],
    ["with a misspelt key", "promptconfig: {}\n", "near ones: promptconfigs"],
    ["that names a file outside", "ops: {files: [../whole/ops.yaml]}\n", "lie in its folder"],
    ["that names a file that is not there", "ops: {files: [none.yaml]}\n", "no such file"],
    ["whose file leads outside", "ops: {files: [link.yaml]}\n", "lie in its folder"],
    ["whose ops name code", "ops: {files: [code.yaml]}\n", "an op file cannot name code"],
    ["whose ops are Python's", "ops: {files: [python.yaml]}\n", "an op file cannot name code"],
    ["whose ops have another part", "ops: {files: [part.yaml]}\n", "part.yaml:1:1; expected collection, composite"],
    ["whose collection is for another version", "ops: {files: [new.yaml]}\n", "new.yaml:1:39; expected >=9"],
    ["with a key that disagrees", "module: {configs: {demo.other.core: c.yaml}}\n", "the key does not agree"],
    ["with code that nobody asked for", "module: {entrypoint: 'some-package#Module'}\n", "unless you name its package"],
  ])("%s is refused", async (name, manifest, message) => {
    component("whole", whole);
    const folder = component(name.replaceAll(" ", "-"), {
      "it_component.yaml": manifest,
      "code.yaml": "composite_operations: {a: {implementation: os.system}}\n",
      "python.yaml": "mine: {description: mine, implementation: my.package.function}\n",
      "part.yaml": "operations: {}\ncomposite_operations: {}\n",
      "new.yaml": "collection: {requires: {interpretune: '>=9'}}\ncomposite_operations: {}\n",
      "c.yaml": entry,
    });
    symlinkSync(join(root, "whole", "ops.yaml"), join(folder, "link.yaml"));
    await expect(loadComponent(folder, { version: "0.1.0" })).rejects.toThrow(message);
  });

  it("runs code of packages that are named, and says where a package has none", async () => {
    const folder = component("code", { "it_component.yaml": "module: {entrypoint: 'yaml#parse'}\n" });
    await expect(loadComponent(folder, { packages: ["yaml"] })).rejects.toThrow("no module or data module");
    const missing = component("missing", { "it_component.yaml": "module: {entrypoint: 'no-such-package-here#A'}\n" });
    await expect(loadComponent(missing, { packages: ["no-such-package-here"] })).rejects.toThrow("cannot be imported");
  });
});

it.each([
  ["0.1.0", ">=0.1", true],
  ["0.1.0", ">0.1", false],
  ["0.10.0", ">=0.9, <1", true],
  ["1.0.0-beta.1", "<1", false],
  ["2.0", "==2", true],
  ["2.0.1", "!=2", true],
])("%s lies in %s: %s", (version, window, expected) => {
  expect(isInWindow(version, window)).toBe(expected);
});
