/** @file The names that `class_path` may have: components of the published package and our own, and what they stand for. */
import { nearest } from "../../graph/nearest.ts";
import { configFault, type Entry, type Located, type LocatedMap } from "./yaml.ts";

/** A component that a `class_path` names. */
interface Component {
  /** The key it may stand at. */
  readonly at: string;
  /** Fields it sets before its `init_args`. */
  readonly sets?: Readonly<Record<string, string>>;
  /** Python modules it is published under, at one time or another. */
  readonly modules: readonly string[];
}

const examples = ["it_examples.experiments.rte_boolq", "it_examples.models.core.gpt2"];
const config = ["interpretune", "interpretune.config", "interpretune.base.config.module", "interpretune.config.module"];
const mixins = ["interpretune", "interpretune.config", "interpretune.base.config.mixins", "interpretune.config.mixins"];
const shared = ["interpretune", "interpretune.config", "interpretune.base.config.shared", "interpretune.config.shared"];
const data = [
  "interpretune",
  "interpretune.config",
  "interpretune.base.config.datamodule",
  "interpretune.config.datamodule",
];
const lens = [
  "interpretune",
  "interpretune.config",
  "interpretune.adapters.transformer_lens",
  "interpretune.config.transformer_lens",
];
const sae = ["interpretune", "interpretune.config", "interpretune.adapters.sae_lens", "interpretune.config.sae_lens"];

const components: Readonly<Record<string, Component>> = {
  ITConfig: { at: "module_cfg", modules: config },
  ITLensConfig: { at: "module_cfg", modules: lens },
  SAELensConfig: { at: "module_cfg", modules: sae },
  RTEBoolqConfig: { at: "module_cfg", modules: examples },
  RTEBoolqTLConfig: { at: "module_cfg", modules: examples },
  RTEBoolqSLConfig: { at: "module_cfg", modules: examples },
  ITDataModuleConfig: { at: "datamodule_cfg", modules: data },
  ITSharedConfig: { at: "shared_config", modules: shared },
  PromptConfig: { at: "prompt_cfg", modules: data },
  RTEBoolqPromptConfig: { at: "prompt_cfg", modules: examples },
  InlinePromptConfig: { at: "prompt_cfg", sets: { style: "inline" }, modules: [] },
  GemmaPromptConfig: { at: "prompt_cfg", sets: { chat: "gemma-chat" }, modules: examples },
  Llama3PromptConfig: { at: "prompt_cfg", sets: { chat: "llama3-chat" }, modules: examples },
  ChatTemplatePromptConfig: { at: "prompt_cfg", sets: { chat: "template" }, modules: examples },
  AutoCompConfig: { at: "auto_comp_cfg", modules: shared },
  GenerativeClassificationConfig: { at: "generative_step_cfg", modules: mixins },
  CoreGenerationConfig: { at: "lm_generation_cfg", modules: mixins },
  HFGenerationConfig: { at: "lm_generation_cfg", modules: mixins },
  TLensGenerationConfig: { at: "lm_generation_cfg", modules: lens },
  HFFromPretrainedConfig: { at: "hf_from_pretrained_cfg", modules: mixins },
  LoraConfig: { at: "lora_cfg", modules: ["peft", "peft.tuners", "peft.tuners.lora", "peft.tuners.lora.config"] },
  ITLensFromPretrainedConfig: { at: "tl_cfg", sets: { preset: "from_pretrained" }, modules: lens },
  ITLensFromPretrainedNoProcessingConfig: { at: "tl_cfg", sets: { preset: "no_processing" }, modules: lens },
  ITLensCustomConfig: { at: "tl_cfg", sets: { preset: "custom" }, modules: lens },
  SAELensFromPretrainedConfig: { at: "sae_cfgs", modules: sae },
  SAELensCustomConfig: { at: "sae_cfgs", modules: sae },
  StandardSAEConfig: { at: "cfg", modules: ["sae_lens", "sae_lens.saes.standard_sae"] },
  LatentAnalysisTargets: { at: "latent_analysis_targets", modules: ["interpretune", "interpretune.analysis"] },
  RTEBoolqDataModule: { at: "datamodule_cls", modules: examples },
  GPT2RTEBoolqDataModule: { at: "datamodule_cls", modules: examples },
  RTEBoolqModule: { at: "module_cls", modules: examples },
  RTEBoolqEntailmentMapping: { at: "module_cfg_mixin", modules: examples },
};

/** Every `class_path` that may stand at a key; without one, all there are. */
export function classPathsAt(key?: string): string[] {
  return Object.entries(components)
    .filter(([, { at }]) => key === undefined || at === key)
    .flatMap(([name, { modules }]) => [name, ...modules.map((module) => `${module}.${name}`)]);
}

/** Keys whose value is a class's name in our config, and those whose mapping stays a mapping. */
const namedByClass = ["datamodule_cls", "module_cls", "module_cfg_mixin"];
const keptAsNodes = ["optimizer_init", "lr_scheduler_init", "callbacks", "logger"];

/**
 * Replaces `{ class_path, init_args }` by the fields it stands for, throughout a tree. Nothing is imported: names are
 * looked up, first in the table, then (for modules and data modules) among those the user listed.
 * @throws SessionError at the name, with near ones, when it is unknown or stands at the wrong key
 */
export function resolveClassPaths(node: Located, userNames: readonly string[] = [], key = ""): Located {
  if (keptAsNodes.includes(key)) return node;
  const inner = (item: Located): Located =>
    namedByClass.includes(key) ? className(item, userNames, key) : resolveClassPaths(item, userNames, key);
  if (node.kind === "list") return { ...node, items: node.items.map(inner) };
  // One mixin may stand for a list of one.
  if (key === "module_cfg_mixin") return { kind: "list", where: node.where, items: [inner(node)] };
  if (namedByClass.includes(key)) return inner(node);
  if (node.kind !== "map") return node;
  const fields = node.entries.has("class_path") ? fieldsOfNode(node, key) : node.entries;
  const entries = [...fields].map(([name, entry]): [string, Entry] => [
    name,
    { ...entry, value: resolveClassPaths(entry.value, userNames, name) },
  ]);
  return { ...node, entries: new Map(entries) };
}

function fieldsOfNode(node: LocatedMap, key: string): ReadonlyMap<string, Entry> {
  const path = node.entries.get("class_path")!;
  const stray = [...node.entries].find(([name]) => !["class_path", "init_args", "import_only"].includes(name));
  if (stray !== undefined)
    throw configFault("a class_path stands with init_args only", stray[1].where, {
      received: stray[0],
      hint: "put it under init_args",
    });
  const { sets = {} } = lookUp(path.value, key);
  const args = node.entries.get("init_args")?.value;
  if (args !== undefined && args.kind !== "map" && !(args.kind === "scalar" && args.value === null))
    throw configFault("init_args is a mapping", args.where);
  const { where } = path;
  const set = Object.entries(sets).map(([name, value]): [string, Entry] => [
    name,
    { where, value: { kind: "scalar", where, value } },
  ]);
  return new Map([...set, ...(args?.kind === "map" ? args.entries : [])]);
}

/** A component's name, from `{ class_path }` or a plain text. */
function className(node: Located, userNames: readonly string[], key: string): Located {
  const path = node.kind === "map" ? node.entries.get("class_path")?.value : node;
  if (path === undefined) throw configFault("a class is named by class_path", node.where);
  if (path.kind !== "scalar" || path.value === null) return path;
  if (userNames.includes(String(path.value))) return path;
  lookUp(path, key, userNames);
  return { ...path, value: String(path.value).split(".").at(-1)! };
}

function lookUp(path: Located, key: string, userNames: readonly string[] = []): Component {
  const name = path.kind === "scalar" && typeof path.value === "string" ? path.value : undefined;
  if (name === undefined) throw configFault("class_path is the name of a class", path.where);
  const short = name.split(".").at(-1)!;
  const component = Object.hasOwn(components, short) ? components[short]! : undefined;
  const known = component !== undefined && (short === name || component.modules.some((m) => `${m}.${short}` === name));
  const fits = [...classPathsAt(key), ...userNames];
  if (!known)
    throw configFault("this class_path names no known component", path.where, {
      code: "session/class-path",
      received: name,
      hint: `near ones: ${nearest(name, fits.length > 0 ? fits : classPathsAt()).join(", ")}; modules of your own are listed with --modules`,
    });
  if (component.at !== key)
    throw configFault(`${short} cannot stand here`, path.where, {
      code: "session/class-path",
      expected:
        fits.length > 0 ? `one of ${fits.filter((each) => !each.includes(".")).join(", ")}` : `it at ${component.at}`,
    });
  return component;
}
