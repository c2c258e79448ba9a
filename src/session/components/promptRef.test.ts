/** Prompt configurations that refer to those of components, from YAML, TypeScript and other components. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel, shapes } from "../../../test/support/random.ts";
import { datasetOf, type Dataset } from "../../data/index.ts";
import type { HookedModel } from "../../model/index.ts";
import type { SessionOverrides } from "../compose/overrides.ts";
import type { PromptConfig } from "../config/types.ts";
import { Session } from "../session.ts";
import { loadComponent } from "./component.ts";
import { Registry } from "./registry.ts";

let root: string;
let model: HookedModel;
let data: Dataset;

function write(name: string, text: string): string {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

/** A component with these prompt configurations. */
function component(name: string, prompts: Readonly<Record<string, string>>): string {
  const definitions = Object.keys(prompts).map((each) => `${each}: ${each}.yaml`);
  write(`${name}/it_component.yaml`, `promptconfigs: {definitions: {${definitions.join(", ")}}}\n`);
  for (const [each, text] of Object.entries(prompts)) write(`${name}/${each}.yaml`, text);
  return join(root, name);
}

const resources = {
  component: (id: string): Promise<string> => Promise.resolve(id.startsWith("org/") ? join(root, id.slice(4)) : id),
};

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "interpretune-prompt-"));
  model = randomModel(shapes["gpt2"]!, 1);
  const rows = [{ value: { input_ids: [5, 6], label: 1 }, where: "row 1" }];
  data = await datasetOf(() => rows, { name: "ids" });
  component("theirs", {
    Short: "class_path: GemmaPromptConfig\ninit_args: {question_suffix: '?', ctx_question_join: ' so '}\n",
    Longer: `compose_ref: "org/theirs#Short"\nquestion_suffix: ' or not?'\n`,
  });
});
afterAll(() => rmSync(root, { recursive: true }));

const extras = (): SessionOverrides => ({
  ...{ model, data, resources, logStream: null },
  moduleCfg: { classificationMapping: [2, 3], coreLogDir: root },
});
async function promptOf(path: string, more: SessionOverrides = {}): Promise<PromptConfig> {
  const session = await Session.fromConfig(path, { ...extras(), ...more, env: {} });
  return session.cfg.datamoduleCfg.promptCfg;
}
const withPrompt = (name: string, prompt: string): string =>
  write(name, `registered_cfg:\n  datamodule_cfg:\n    prompt_cfg: ${prompt}\n`);

const short = { style: "package", chat: "gemma-chat", ctxQuestionJoin: " so ", questionSuffix: "?", composeRef: null };

describe("a session's prompt_cfg", () => {
  it("takes the prompt of a component, under what stands beside the reference", async () => {
    expect(await promptOf(withPrompt("a.yaml", '{compose_ref: "org/theirs#Short"}'))).toMatchObject(short);
    const beside = withPrompt("b.yaml", '{compose_ref: "org/theirs#Short", question_suffix: "!", style: inline}');
    expect(await promptOf(beside)).toMatchObject({ ...short, questionSuffix: "!", style: "inline" });
    const wrapped = write(
      "c.yaml",
      `registered_cfg:
  datamodule_cfg:
    class_path: ITDataModuleConfig
    init_args:
      prompt_cfg: {class_path: Llama3PromptConfig, init_args: {compose_ref: "${join(root, "theirs")}#Longer"}}
`,
    );
    expect(await promptOf(wrapped)).toMatchObject({ ...short, chat: "llama3-chat", questionSuffix: " or not?" });
  });

  it("does so from TypeScript, from options by name and from entries of a registry, in place of what was said before", async () => {
    const promptCfg = { composeRef: "org/theirs#Short" };
    const { datamoduleCfg } = (await Session.create({ ...extras(), datamoduleCfg: { promptCfg } })).cfg;
    expect(datamoduleCfg.promptCfg).toMatchObject(short);
    const path = withPrompt("d.yaml", "{class_path: RTEBoolqPromptConfig, init_args: {question_suffix: '...'}}");
    expect(await promptOf(path)).toMatchObject({ chat: "plain", questionSuffix: "..." });
    expect(await promptOf(path, { datamoduleCfg: { promptCfg } })).toMatchObject(short);
    const set = [["prompt-cfg.compose-ref", "org/theirs#Short"]] as const;
    const named = await Session.fromConfig(path, { ...extras(), set, env: {} });
    expect(named.cfg.datamoduleCfg.promptCfg).toMatchObject(short);
    const entry = await Session.fromRegistry("rte_demo.gpt2.core", {
      ...extras(),
      datamoduleCfg: { promptCfg: { ...promptCfg, style: "inline" } },
      tokenizer: undefined,
    }).then(({ cfg }) => cfg.datamoduleCfg.promptCfg);
    expect(entry).toMatchObject({ ...short, style: "inline" });
  });

  it("is described with what it came to, or not at all", async () => {
    const entryOf = (composeRef: string): Registry =>
      new Registry().register("ids.small.core", {
        regInfo: { modelSrcKey: "small", taskName: "ids", adapterCombinations: [["core"]] },
        registeredCfg: { datamoduleCfg: { promptCfg: { composeRef } } },
      });
    const { config } = await entryOf("org/theirs#Longer").describe("ids.small.core", { resources });
    expect(config.registeredCfg.datamoduleCfg.promptCfg).toMatchObject({ ...short, questionSuffix: " or not?" });
    const none = entryOf("org/theirs#None").describe("ids.small.core", { resources });
    await expect(none).rejects.toThrow("expected Short, Longer; got None");
  });

  it("is recorded with what it came to", async () => {
    const path = withPrompt("e.yaml", '{compose_ref: "org/theirs#Short"}');
    const { record } = await Session.fromConfig(path, { ...extras(), env: {} });
    const same = withPrompt("f.yaml", "{chat: gemma-chat, question_suffix: '?', ctx_question_join: ' so '}");
    const { record: byHand } = await Session.fromConfig(same, { ...extras(), env: {} });
    expect(record["config_hash"]).toBe(byHand["config_hash"]);
  });

  it.each([
    ["a name that is not there", '{compose_ref: "org/theirs#Shart"}', "expected Short, Longer; got Shart"],
    ["no name", "{compose_ref: org/theirs}", "expected owner/name#Name"],
    ["a component that is not there", '{compose_ref: "org/nobody#Short"}', "cannot be opened"],
    ["something else", "{compose_ref: [1]}", "refers to no prompt configuration"],
    ["a circle", '{compose_ref: "org/circle#A"}', "in a circle", "circle/C.yaml:1:14"],
    ["a fault over there", '{compose_ref: "org/faulty#Bad"}', "prompt_cfg.question_sufix", "Bad.yaml:1:1"],
  ])("that refers to %s is one error with its place", async (name, prompt, message, where?: string) => {
    component("circle", {
      A: 'compose_ref: "org/circle#B"\n',
      B: 'compose_ref: "org/circle#C"\n',
      C: 'compose_ref: "org/circle#B"\n',
    });
    component("faulty", { Bad: "question_sufix: '?'\n" });
    const path = withPrompt(`${name}.yaml`, prompt);
    const failed = promptOf(path);
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toThrow(where ?? `${path}:3:31`);
  });

  it("says which hub id is not cached where the hub may not be asked", async () => {
    const path = withPrompt("offline.yaml", '{compose_ref: "nobody/prompts#Short"}');
    const failed = promptOf(path, { resources: {}, hub: { offline: true, cacheDir: join(root, "cache") } });
    await expect(failed).rejects.toThrow(/offline\.yaml:3:31; got nobody\/prompts#Short\n {2}because .*offline/s);
  });
});

describe("prompt configurations of components", () => {
  it("may refer to others of the same component, and of components that refer back", async () => {
    component("one", { A: 'compose_ref: "org/two#B"\n', C: "question_suffix: '3'\n" });
    component("two", { B: 'compose_ref: "org/one#C"\nchat: template\n' });
    const { promptConfigs } = await loadComponent(join(root, "one"), { resources });
    expect(promptConfigs["A"]).toMatchObject({ questionSuffix: "3", chat: "template" });
    const theirs = await loadComponent(join(root, "theirs"), { resources });
    expect(theirs.promptConfigs["Longer"]).toMatchObject({ ...short, questionSuffix: " or not?" });
  });
});
