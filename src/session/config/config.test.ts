import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from "vitest";
import { sharedPath } from "../../../test/support/goldens.ts";
import { makeSchedule, optimizers, schedules } from "../../train/index.ts";
import { SessionError } from "../errors.ts";
import { classPathsAt } from "./classPaths.ts";
import { camelCase, kebabCase, snakeCase } from "./names.ts";
import { optionPaths, readSessionFile, sessionFileOf, treeOfInput, type SessionFile } from "./read.ts";
import { sections } from "./sections.ts";
import { optimizerOf, scheduleOf } from "./training.ts";
import type { Config, ConfigInput } from "./types.ts";
import { locatedFrom, merged, parseYaml, placeOf, plain } from "./yaml.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-config-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const parse = (text: string): SessionFile => sessionFileOf(parseYaml(text, "a.yaml"));
const write = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const module = (text: string): string => `registered_cfg:\n  module_cfg:\n${text.replaceAll(/^/gm, "    ")}`;

describe("names", () => {
  it("have three spellings that say the same", () => {
    for (const { fields } of Object.values(sections))
      for (const name of Object.keys(fields)) {
        expect(camelCase(snakeCase(name))).toBe(name);
        expect(camelCase(kebabCase(name))).toBe(name);
        expect(snakeCase(name)).toMatch(/^[a-z0-9]+(_[a-z0-9]+)*$/);
      }
    expect(kebabCase("hfFromPretrainedCfg")).toBe("hf-from-pretrained-cfg");
  });
});

describe("the published shape", () => {
  it("is read with nested class_path nodes, and shared values go into both sides", () => {
    const { registeredCfg, adapterCtx } = parse(`
shared_config: {model_name_or_path: gpt2, task_name: rte, tokenizer_id_overrides: {pad_token_id: 50256}}
adapter_ctx: [core, sae_lens]
registered_cfg:
  datamodule_cfg:
    prompt_cfg: {class_path: it_examples.experiments.rte_boolq.RTEBoolqPromptConfig, init_args: {question_suffix: "?!"}}
    eval_batch_size: 2
  module_cfg:
    class_path: interpretune.base.config.module.ITConfig
    init_args:
      model_name_or_path: overridden
      tl_cfg: {class_path: interpretune.adapters.transformer_lens.ITLensFromPretrainedNoProcessingConfig}
      sae_cfgs:
        - {class_path: interpretune.adapters.sae_lens.SAELensFromPretrainedConfig, init_args: {release: r, sae_id: s}}
        - {release: r2, sae_id: s2}
      optimizer_init: {class_path: torch.optim.AdamW, init_args: {lr: 3.0e-5, weight_decay: 1.0e-6, eps: 1.0e-7}}
  datamodule_cls: {class_path: it_examples.experiments.rte_boolq.RTEBoolqDataModule}
  module_cls: {class_path: it_examples.experiments.rte_boolq.RTEBoolqModule}
`);
    const { moduleCfg, datamoduleCfg } = registeredCfg;
    expect(adapterCtx).toEqual(["core", "sae_lens"]);
    expect([moduleCfg.modelNameOrPath, datamoduleCfg.modelNameOrPath]).toEqual(["gpt2", "gpt2"]);
    expect(datamoduleCfg.tokenizerIdOverrides).toEqual({ pad_token_id: 50256 });
    expect(datamoduleCfg.promptCfg.questionSuffix).toBe("?!");
    expect(moduleCfg.tlCfg?.preset).toBe("no_processing");
    expect(moduleCfg.saeCfgs.map(({ saeId }) => saeId)).toEqual(["s", "s2"]);
    expect(moduleCfg.optimizerInit?.initArgs).toEqual({ lr: 3e-5, weight_decay: 1e-6, eps: 1e-7 });
    expect(registeredCfg.moduleCls).toBe("RTEBoolqModule");
  });

  it("every schedule and optimiser of the tables may be named, with and without its module", () => {
    const more = JSON.parse(readFileSync(sharedPath("goldens/optim/more_schedules.json"), "utf8")) as {
      schedules: { class_path: string; init_args: object }[];
    };
    const { schedules: own } = JSON.parse(readFileSync(sharedPath("goldens/optim/schedules.json"), "utf8")) as {
      schedules: { kind: string; settings: object }[];
    };
    const short: Record<string, string> = { polynomial_with_warmup: "get_polynomial_decay_schedule_with_warmup" };
    const published = [
      ...more.schedules,
      ...own.map(({ kind, settings }) => ({
        class_path:
          kind.endsWith("LR") || !kind.includes("_") || kind.startsWith("Cosine")
            ? kind
            : (short[kind] ?? `get_${kind.replace("_with", "_schedule_with")}`),
        init_args: settings,
      })),
    ];
    expect([...new Set(published.map(({ class_path }) => class_path))].sort()).toEqual(Object.keys(schedules).sort());
    for (const { class_path, init_args } of published) {
      const room = class_path.startsWith("get_") ? "transformers" : "torch.optim.lr_scheduler";
      for (const path of [class_path, `${room}.${class_path}`]) {
        const node = JSON.stringify({ class_path: path, init_args });
        const { lrSchedulerInit } = parse(module(`lr_scheduler_init: ${node}\n`)).registeredCfg.moduleCfg;
        expect(makeSchedule(scheduleOf(lrSchedulerInit!), [0.1, 0.03]).rates).toHaveLength(2);
      }
    }
    for (const name of Object.keys(optimizers)) {
      const text = module(`optimizer_init: {class_path: torch.optim.${name}, init_args: {weight_decay: 0.5}}\n`);
      const { optimizerInit } = parse(text).registeredCfg.moduleCfg;
      expect(optimizerOf(optimizerInit!)).toEqual({ name, weightDecay: 0.5 });
    }
    const faults: [string, string][] = [
      ["{class_path: StepLR}", "lr_scheduler_init.init_args.step_size"],
      ["{class_path: CosineAnnealingLR, init_args: {T_max: 0}}", "init_args.T_max"],
      ["{class_path: ChainedScheduler, init_args: {schedulers: [{class_path: StepLR, init_args: {}}]}}", "schedulers"],
      ["{class_path: AdamW}", "a.yaml:3:37"],
    ];
    for (const [node, message] of faults) expect(() => parse(module(`lr_scheduler_init: ${node}\n`))).toThrow(message);
  });

  it("is also read from the older session_cfg", () => {
    const old = parse(`
session_cfg:
  adapter_ctx: [core]
  shared_cfg: {task_name: boolq}
  datamodule_cfg: {eval_batch_size: 3}
  module_cfg: {experiment_tag: old}
`);
    expect(old.adapterCtx).toEqual(["core"]);
    expect(old.registeredCfg.datamoduleCfg).toMatchObject({ evalBatchSize: 3, taskName: "boolq" });
    expect(old.registeredCfg.moduleCfg).toMatchObject({ experimentTag: "old", taskName: "boolq" });
  });

  it("has the published defaults", () => {
    const { registeredCfg, runCfg } = parse("adapter_ctx: [core]\n");
    expect(registeredCfg.datamoduleCfg).toMatchObject({
      trainBatchSize: 32,
      evalBatchSize: 32,
      removeUnusedColumns: true,
    });
    expect(registeredCfg.moduleCfg.generativeStepCfg).toMatchObject({
      enabled: false,
      lmGenerationCfg: {
        maxNewTokens: 5,
        doSample: true,
        topK: 50,
        topP: 1,
        temperature: 1,
        freqPenalty: 0,
        stopAtEos: true,
      },
    });
    expect(registeredCfg.moduleCfg.hfFromPretrainedCfg.defaultHead).toBe("transformers.AutoModelForCausalLM");
    expect(registeredCfg.moduleCfg).toMatchObject({
      loggingLevel: "INFO",
      experimentTag: "default",
      logEnvDetails: true,
    });
    // As published it is -1, with which nothing is run.
    expect(runCfg.maxEpochs).toBe(1);
  });

  it("names a class that is not known, with near ones, and imports nothing", () => {
    expect(() => parse(module("tl_cfg:\n  class_path: interpretune.config.ITLensFromPretrainedConfg\n"))).toThrow(
      "a.yaml:4:19; got interpretune.config.ITLensFromPretrainedConfg (near ones: interpretune.config.ITLensFromPretrainedConfig",
    );
    expect(() => parse(module("tl_cfg: {class_path: os.system, init_args: {}}\n"))).toThrow("names no known component");
    for (const path of classPathsAt("tl_cfg"))
      expect(parse(module(`tl_cfg: {class_path: ${path}}\n`)).registeredCfg.moduleCfg.tlCfg).not.toBeNull();
  });
});

describe("several files", () => {
  it("are merged: mappings by key, lists and scalars replaced, defaults folder first, flags last", async () => {
    const defaults = join(folder, "defaults");
    mkdirSync(defaults);
    write("defaults/a.yaml", "run_cfg: {max_steps: 5, ops: [a, b]}\nadapter_ctx: [core]\n");
    write("defaults/b.yaml", "run_cfg: {max_steps: 6}\n");
    const one = write(
      "one.yaml",
      "run_cfg: {ops: [c]}\nregistered_cfg: {module_cfg: {experiment_tag: one, tl_cfg: {fold_ln: true}}}\n",
    );
    const two = write("two.yaml", "registered_cfg: {module_cfg: {tl_cfg: {center_unembed: false}}}\n");
    const file = await readSessionFile([one, two], {
      env: { IT_CONFIG_DEFAULTS: defaults },
      set: [
        ["max-epochs", "2"],
        ["module_cfg.tl-cfg.foldLn", "false"],
        ["task-name", "boolq"],
        ["core_log_dir", ""],
      ],
    });
    expect(file.runCfg).toMatchObject({ maxSteps: 6, ops: ["c"], maxEpochs: 2 });
    expect(file.registeredCfg.moduleCfg).toMatchObject({ experimentTag: "one", taskName: "boolq", coreLogDir: "" });
    expect(file.registeredCfg.moduleCfg.tlCfg).toMatchObject({ foldLn: false, centerUnembed: false });
    expect(file.adapterCtx).toEqual(["core"]);
  });

  it.each([
    ["no-such", "1", "there is no option no-such; in --set no-such (near ones"],
    ["max_epochs", "many", "run_cfg.max_epochs is not what it should be; in --set max_epochs; expected a number"],
    ["use-bridge", "false", "several options are called use-bridge"],
  ])("name a wrong %s=%s by its flag", async (name, value, message) => {
    const one = write("flag.yaml", "adapter_ctx: [core]\n");
    await expect(readSessionFile([one], { env: {}, set: [[name, value]] })).rejects.toThrow(message);
  });

  it("point at the file that a fault is in", async () => {
    const one = write("good.yaml", "run_cfg:\n  max_steps: 1\n");
    const two = write("bad.yaml", "# a comment\nrun_cfg:\n  ops:\n    - a\n    - 5\n");
    await expect(readSessionFile([one, two], { env: {} })).rejects.toThrow(`${two}:5:7; expected a text`);
    await expect(readSessionFile([join(folder, "none.yaml")], { env: {} })).rejects.toThrow("none.yaml; got ENOENT");
  });
});

describe("bad YAML", () => {
  const bomb = [
    "a: &a [x,x,x,x,x,x,x,x,x]",
    ..."bcdefgh"
      .split("")
      .map((name, i) => `${name}: &${name} [${Array.from({ length: 9 }, () => `*${"abcdefg"[i]}`).join(",")}]`),
  ].join("\n");
  const cases: [name: string, text: string | Uint8Array, where: string, message: string][] = [
    ["an empty file", "", "a.yaml", "empty"],
    ["only a comment", "# nothing\n", "a.yaml", "empty"],
    ["a list", "- a\n- b\n", "a.yaml:1:1", "mapping"],
    ["a scalar", "just text", "a.yaml:1:1", "not what it should be"],
    ["two documents", "a: 1\n---\nb: 2\n", "a.yaml:2:1", "cannot be read"],
    ["a tab as indentation", "run_cfg:\n\tmax_steps: 1\n", "a.yaml:2:1", "cannot be read"],
    ["an unclosed list", "adapter_ctx: [core\n", "a.yaml:2:1", "cannot be read"],
    ["an unclosed quote", 'adapter_ctx: "core\n', "a.yaml:2:1", "cannot be read"],
    ["a key twice", "run_cfg: {max_steps: 1}\nrun_cfg: {max_steps: 2}\n", "a.yaml:2:1", "unique"],
    ["a Python object", "seed_everything: !!python/object/apply:os.system [ls]\n", "a.yaml:1:18", "cannot be read"],
    ["a tag of its own", "seed_everything: !env SEED\n", "a.yaml:1:18", "Unresolved tag"],
    ["an alias without anchor", "run_cfg: *missing\n", "a.yaml:1:10", "no anchor"],
    ["an alias to itself", "run_cfg: &a\n  ops: *a\n", "a.yaml:2:8", "too much"],
    ["aliases that explode", bomb, "a.yaml", "too much"],
    ["deep nesting", "[".repeat(200) + "]".repeat(200), "a.yaml:1:", "too much"],
    ["a prototype key", "__proto__: {polluted: true}\n", "a.yaml:1:1", "cannot be a key"],
    ["a nested prototype key", "run_cfg: {constructor: {prototype: {}}}\n", "a.yaml:1:11", "cannot be a key"],
    ["a number as key", "run_cfg: {5: x}\n", "a.yaml:1:11", "a key is a name"],
    ["a list as key", "? [a, b]\n: c\n", "a.yaml:1:3", "a key is a name"],
    ["an unknown option at the top", "shared_cfg: {}\n", "a.yaml:1:1", "near ones: shared_config"],
    ["an unknown option below", "run_cfg:\n  max_epoch: 1\n", "a.yaml:2:3", "near ones: max_epochs"],
    ["text for a number", "run_cfg: {max_steps: ten}\n", "a.yaml:1:22", "expected a number"],
    ["a fraction for an integer", "run_cfg: {max_steps: 1.5}\n", "a.yaml:1:22", "expected an integer"],
    ["a number too small", "run_cfg: {max_steps: -2}\n", "a.yaml:1:22", "expected at least -1; got -2"],
    ["infinity", "run_cfg: {max_steps: .inf}\n", "a.yaml:1:22", "expected a number"],
    [
      "not a number",
      module("generative_step_cfg: {lm_generation_cfg: {temperature: .nan}}\n"),
      "a.yaml:3:60",
      "expected a number",
    ],
    ["a number beyond all integers", "seed_everything: 99999999999999999999\n", "a.yaml:1:18", "expected"],
    ["yes where true is meant", module("log_env_details: yes\n"), "a.yaml:3:22", "expected true or false"],
    ["a list for a mapping", "run_cfg: [1]\n", "a.yaml:1:10", "expected a mapping"],
    ["a mapping for a list", "adapter_ctx: {a: 1}\n", "a.yaml:1:14", "expected a list"],
    ["null for a mapping", "run_cfg:\n", "a.yaml:1:9", "expected a mapping"],
    [
      "a word that is not one of them",
      module("positions: guessed\n"),
      "a.yaml:3:16",
      "one of explicit, tlLegacy, padded",
    ],
    ["one answer", module("entailment_mapping: [Yes]\n"), "a.yaml:3:25", "entailment_mapping"],
    [
      "class_path beside fields",
      module("tl_cfg: {class_path: ITLensCustomConfig, fold_ln: true}\n"),
      "a.yaml:3:46",
      "init_args only",
    ],
    [
      "a class at the wrong place",
      module("tl_cfg: {class_path: RTEBoolqPromptConfig}\n"),
      "a.yaml:3:26",
      "cannot stand here",
    ],
    ["class_path that is a list", module("tl_cfg: {class_path: [a]}\n"), "a.yaml:3:26", "name of a class"],
    [
      "an unknown optimiser",
      module("optimizer_init: {class_path: torch.optim.Adamw}\n"),
      "a.yaml:3:34",
      "torch.optim.AdamW",
    ],
    [
      "an unknown argument of one",
      module("optimizer_init: {class_path: torch.optim.AdamW, init_args: {rate: 1}}\n"),
      "a.yaml:3:65",
      "no option",
    ],
    [
      "a wrong argument of one",
      module("optimizer_init: {class_path: SGD, init_args: {lr: fast}}\n"),
      "a.yaml:3:55",
      "expected number",
    ],
    [
      "a shared option given to the data as well",
      "shared_config: {task_name: rte}\nregistered_cfg: {datamodule_cfg: {task_name: rte}}\n",
      "a.yaml:2:35",
      "twice",
    ],
    ["bytes that are no text", Uint8Array.of(0x61, 0x3a, 0xff, 0xfe), "a.yaml", "UTF-8"],
    ["far too much", `a: ${"x".repeat(2 << 20)}`, "a.yaml", "too large"],
  ];

  it.each(cases)("%s is one error with its place", (_, text, where, message) => {
    let error: unknown;
    try {
      sessionFileOf(parseYaml(text, "a.yaml"));
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(SessionError);
    expect((error as SessionError).message).toContain(message);
    expect((error as SessionError).where).toMatch(new RegExp(`^${where.replaceAll(".", "\\.")}`));
    expect(Object.prototype).not.toHaveProperty("polluted");
  });

  it("names the first fault and says how many more there are", () => {
    expect(() => parse("run_cfg: {max_steps: a, max_epochs: b}\n")).toThrow("and 1 more: run_cfg.max_steps");
  });

  it("never throws anything else, whatever the text", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.string().map((x) => `run_cfg:\n  ops: ${x}`),
        ),
        (text) => {
          try {
            parse(text);
          } catch (error) {
            expect(error).toBeInstanceOf(SessionError);
          }
        },
      ),
      { numRuns: 200, seed: 5 },
    );
  });
});

describe("trees", () => {
  const value = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      fc.integer(),
      fc.boolean(),
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom("a", "b", "c"), tie("tree"), { maxKeys: 3 }),
    ),
  })).tree;

  it("merge as values do: by key, the later one winning", () => {
    const isMap = (x: unknown): x is Record<string, unknown> =>
      typeof x === "object" && x !== null && !Array.isArray(x);
    const expected = (a: unknown, b: unknown): unknown =>
      isMap(a) && isMap(b)
        ? Object.fromEntries(
            [...new Set([...Object.keys(a), ...Object.keys(b)])].map((key) => [
              key,
              key in b ? (key in a ? expected(a[key], b[key]) : b[key]) : a[key],
            ]),
          )
        : b;
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(plain(merged(locatedFrom(a, "a"), locatedFrom(b, "b")))).toEqual(expected(a, b));
      }),
      { numRuns: 100, seed: 3 },
    );
  });

  it("know where each value stands", () => {
    const tree = parseYaml("a:\n  - b: 1\n    c: [x, y]\n", "f");
    expect(placeOf(tree, ["a", 0, "c", 1])).toBe("f:3:12");
    expect(placeOf(tree, ["a", 0, "c"], true)).toBe("f:3:5");
    expect(placeOf(tree, ["a", 0, "missing"])).toBe("f:2:5");
  });
});

describe("options in TypeScript", () => {
  it("are the same options, and their faults are told in TypeScript's names", () => {
    const tree = treeOfInput({ registeredCfg: { moduleCfg: { saeCfgs: [{ saeId: "a" }], tlCfg: { foldLn: true } } } });
    expect(plain(tree)).toEqual({
      registered_cfg: { module_cfg: { sae_cfgs: [{ sae_id: "a" }], tl_cfg: { fold_ln: true } } },
    });
    const wrong = { runCfg: { maxSteps: 0.5 } };
    expect(() => treeOfInput(wrong)).toThrow("runCfg.maxSteps is not what it should be");
    expect(() => treeOfInput({ runCfg: { max_steps: 1 } as object })).toThrow("near ones: maxSteps");
  });

  it("have the types of the table", () => {
    expectTypeOf<Config<"GenerationConfig">["maxNewTokens"]>().toEqualTypeOf<number>();
    expectTypeOf<Config<"GenerationConfig">["paddingSide"]>().toEqualTypeOf<"left" | "right" | null>();
    expectTypeOf<Config<"ModuleConfig">["taskName"]>().toEqualTypeOf<string>();
    expectTypeOf<Config<"ModuleConfig">["saeCfgs"][number]["saeId"]>().toEqualTypeOf<string>();
    expectTypeOf<ConfigInput<"DataModuleConfig">["promptCfg"]>().toEqualTypeOf<
      ConfigInput<"PromptConfig"> | undefined
    >();
  });

  it("each have a path and a flag of their own", () => {
    const paths = optionPaths().map((path) => path.join("."));
    expect(new Set(paths).size).toBe(paths.length);
    expect(paths).toContain("registered_cfg.module_cfg.generative_step_cfg.lm_generation_cfg.max_new_tokens");
  });
});
