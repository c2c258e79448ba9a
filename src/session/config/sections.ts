/**
 * @file Every option of a session, once: name, kind, default, meaning. Types, checks, YAML keys, flags, help, JSON Schema
 * and the docs page are made of this table. Sections and fields are the published ones (`ITSharedConfig` and so on).
 */

/**
 * The options by section. `kind` is a scalar kind (see `Scalars`), the name of a section, or that name with `[]`; `oneOf`
 * lists the words allowed. A default of null means absent. `effect: "none"` marks what is accepted because published
 * files have it, and does nothing here.
 */
export const sections = {
  SharedConfig: {
    about: "What the model's side and the data's side have in common",
    fields: {
      modelNameOrPath: { kind: "text", default: "", about: "Folder, .gguf file or hub id of the model" },
      taskName: { kind: "text", default: "", about: "rte or boolq; another name is warned about and read as rte" },
      tokenizerName: { kind: "text", default: null, about: "Folder of the tokenizer; default: the model's" },
      osEnvModelAuthKey: { kind: "text", default: null, about: "Environment variable that holds the hub's token" },
      tokenizerIdOverrides: { kind: "ids", default: {}, about: "Special tokens by name, such as pad_token_id: 50256" },
      tokenizerKwargs: { kind: "TokenizerKwargs", default: {}, about: "How the tokenizer is loaded" },
      specialTokensDict: { kind: "words", default: {}, about: "Special tokens as text, such as pad_token: <pad>" },
      deferModelInit: {
        kind: "flag",
        default: false,
        about: "Load the model at init() instead of at construction; needs signature_columns",
      },
    },
  },
  TokenizerKwargs: {
    about: "How the tokenizer is loaded",
    fields: {
      modelInputNames: { kind: "texts", default: null, about: "Names of the columns of ids and mask", effect: "none" },
      paddingSide: { oneOf: ["left", "right"], default: null, about: "Where shorter rows are padded; default left" },
      addBosToken: { kind: "flag", default: null, about: "Begin prompts with BOS; default: the model's rule" },
      useFast: { kind: "flag", default: null, about: "There is one tokenizer, and it is exact", effect: "none" },
      localFilesOnly: { kind: "flag", default: null, about: "Local folders are never fetched", effect: "none" },
    },
  },
  PromptConfig: {
    about: "How two texts become a prompt",
    fields: {
      style: {
        oneOf: ["package", "inline"],
        default: "package",
        about: "package: as the published package joins them; inline: as the older tutorial does",
      },
      ctxQuestionJoin: { kind: "text", default: null, about: "Between the texts; default: the style's" },
      questionSuffix: { kind: "text", default: null, about: "After the second text; default: the style's" },
      custTaskPrompt: { kind: "TaskPrompt", default: null, about: "Instead: context, text, question, text on lines" },
      chat: {
        oneOf: ["plain", "gemma-chat", "llama3-chat", "template"],
        default: "plain",
        about: "What is put around it: hand-written turns, or the tokenizer's own chat template",
      },
    },
  },
  TaskPrompt: {
    about: "A prompt with lines of one's own",
    fields: {
      context: { kind: "text", default: "", about: "The line before the first text" },
      question: { kind: "text", default: "", about: "The line before the second text" },
    },
  },
  DataFiles: {
    about: "A JSONL or Parquet file for each split",
    fields: {
      train: { kind: "text", default: null, about: "Read by training" },
      validation: { kind: "text", default: null, about: "Read by validation, test, predict and analyses" },
      test: { kind: "text", default: null, about: "Instead of validation, for test and analyses" },
      predict: { kind: "text", default: null, about: "Instead of validation, for predict" },
    },
  },
  DataModuleConfig: {
    about: "The data's side",
    includes: "SharedConfig",
    fields: {
      promptCfg: { kind: "PromptConfig", default: {}, about: "How rows become prompts" },
      trainBatchSize: { kind: "count", default: 32, about: "Rows per batch in training" },
      evalBatchSize: {
        kind: "count",
        default: 32,
        about: "Rows per batch everywhere else; the last one may be smaller",
      },
      datasetPath: {
        kind: "text",
        default: null,
        about: "A data file (validation), or a folder with a file per split",
      },
      dataFiles: { kind: "DataFiles", default: {}, about: "A file for each split; goes before dataset_path" },
      padTo: {
        oneOf: ["batch", "split"],
        default: "batch",
        about: "Rows are padded to the longest of their batch, or (as published) of the whole split",
      },
      limit: { kind: "count", default: null, about: "Only the first rows of each split" },
      custTokenizationPattern: { kind: "text", default: null, about: "gemma-chat or llama3-chat; others are plain" },
      signatureColumns: {
        kind: "texts",
        default: null,
        about: "Columns that are kept; batches have theirs",
        effect: "none",
      },
      removeUnusedColumns: { kind: "flag", default: true, about: "Batches have the columns they need", effect: "none" },
      textFields: { kind: "texts", default: null, about: "The task's two texts; told by the rows", effect: "none" },
      prepareDataMapCfg: { kind: "mapping", default: {}, about: "Rows are tokenised once and kept", effect: "none" },
      prepareValidationSetOnly: { kind: "flag", default: false, about: "Splits are read when used", effect: "none" },
      enableDatasetsCache: { kind: "flag", default: false, about: "Rows are tokenised once and kept", effect: "none" },
      tokenizersParallelism: { kind: "flag", default: true, about: "Tokenisation is in one thread", effect: "none" },
      dataloaderKwargs: { kind: "mapping", default: {}, about: "There are no loader processes", effect: "none" },
      maxSeqLength: {
        kind: "count",
        default: 2048,
        about: "Rows longer than the context are an error",
        effect: "none",
      },
    },
  },
  ModuleConfig: {
    about: "The model's side (ITConfig)",
    includes: "SharedConfig",
    fields: {
      modelCfg: { kind: "mapping", default: {}, about: "Sizes of a model with random weights, instead of a folder" },
      modelClass: { kind: "text", default: null, about: "The model's family is told by its files", effect: "none" },
      custFwdKwargs: { kind: "mapping", default: {}, about: "A forward pass has named options", effect: "none" },
      positions: {
        oneOf: ["explicit", "tlLegacy", "padded"],
        default: "explicit",
        about: "Positions count real tokens, follow TransformerLens' guess, or count padding",
      },
      optimizerInit: { kind: "init", default: null, about: "Optimiser of training: class_path and init_args" },
      lrSchedulerInit: { kind: "init", default: null, about: "Learning-rate schedule: class_path and init_args" },
      plLrsCfg: { kind: "LrSchedulerConfig", default: {}, about: "When the schedule steps" },
      classificationMapping: { kind: "answers", default: null, about: "One answer for each class, in their order" },
      entailmentMapping: { kind: "answers", default: null, about: "The same, under the tutorials' name" },
      generativeStepCfg: { kind: "GenerationStepConfig", default: {}, about: "Whether test steps generate, and how" },
      hfFromPretrainedCfg: { kind: "HfFromPretrainedConfig", default: {}, about: "How the model is loaded" },
      tlCfg: { kind: "TlConfig", default: null, about: "Weight processing (adapter transformer_lens or sae_lens)" },
      saeCfgs: { kind: "SaeConfig[]", default: [], about: "SAEs that are spliced (adapter sae_lens)" },
      useErrorTerm: { kind: "flag", default: false, about: "Splice SAEs with their error term" },
      addSaesOnInit: { kind: "flag", default: false, about: "Keep SAEs spliced in every run of the module" },
      backend: { oneOf: ["transformerlens"], default: "transformerlens", about: "What SAEs are spliced into" },
      useBridge: { kind: "flag", default: true, about: "There is one transformer; see positions", effect: "none" },
      experimentTag: { kind: "text", default: "default", about: "End of the experiment folder's name" },
      coreLogDir: { kind: "text", default: null, about: "Where experiment folders go; default: the temporary folder" },
      logEnvDetails: { kind: "flag", default: true, about: "Write environment.json into the experiment folder" },
      loggingLevel: {
        oneOf: ["DEBUG", "INFO", "WARNING", "ERROR"],
        default: "INFO",
        about: "What is logged, to the stream and the file",
      },
      compatibilityAttrs: {
        kind: "texts",
        default: [],
        about: "Composition needs no renamed attributes",
        effect: "none",
      },
      autoCompCfg: { kind: "AutoCompConfig", default: null, about: "One config has every field", effect: "none" },
      debugLmCfg: { kind: "mapping", default: {}, about: "Settings of the debugging extension" },
      memprofilerCfg: { kind: "mapping", default: {}, about: "Settings of the memory profiler" },
    },
  },
  AutoCompConfig: {
    about: "Which config class is composed; here one config has every field",
    fields: {
      moduleCfgName: { kind: "text", default: "", about: "Name of the composed class" },
      moduleCfgMixin: { kind: "texts", default: [], about: "Classes whose fields are added" },
      targetAdapters: { kind: "texts", default: null, about: "Adapters whose configs are considered" },
    },
  },
  HfFromPretrainedConfig: {
    about: "How a Hugging Face model is loaded",
    fields: {
      pretrainedKwargs: {
        kind: "mapping",
        default: {},
        about: "torch_dtype and others; computation is float32",
        effect: "none",
      },
      dynamicModuleCfg: { kind: "mapping", default: {}, about: "Code of a model is never fetched", effect: "none" },
      useModelCache: {
        kind: "flag",
        default: false,
        about: "Keys and values are kept when generating",
        effect: "none",
      },
      modelHead: { kind: "text", default: "", about: "Class of the head: causal language models" },
      defaultHead: {
        kind: "text",
        default: "transformers.AutoModelForCausalLM",
        about: "The head where none is named",
      },
      loraCfg: { kind: "mapping", default: {}, about: "Not here: an error when set" },
      bitsandbytesconfig: { kind: "mapping", default: {}, about: "Not here: an error when set" },
      activationCheckpointing: { kind: "flag", default: false, about: "Training chooses by memory", effect: "none" },
      enableInputRequireGrads: { kind: "flag", default: true, about: "Gradients are expressions", effect: "none" },
    },
  },
  TlConfig: {
    about: "How TransformerLens would prepare the model",
    fields: {
      preset: {
        oneOf: ["from_pretrained", "no_processing", "custom"],
        default: "from_pretrained",
        about: "Fold and centre weights; leave them as they are; or a model of one's own sizes (cfg)",
      },
      modelName: { kind: "text", default: "gpt2-small", about: "The model where model_name_or_path is empty" },
      foldLn: { kind: "flag", default: null, about: "Fold norms; default: true with from_pretrained" },
      centerWritingWeights: {
        kind: "flag",
        default: null,
        about: "Centre what writes to the residual; default as fold_ln",
      },
      centerUnembed: { kind: "flag", default: null, about: "Centre logits; default as fold_ln" },
      foldValueBiases: { kind: "flag", default: null, about: "Fold value biases; default as fold_ln" },
      refactorFactoredAttnMatrices: { kind: "flag", default: false, about: "Not here: an error when true" },
      defaultPrependBos: { kind: "flag", default: true, about: "Whether text given to the model gets BOS" },
      defaultPaddingSide: {
        oneOf: ["left", "right"],
        default: "right",
        about: "Where texts given to the model are padded",
      },
      dtype: { kind: "text", default: "float32", about: "Computation is float32", effect: "none" },
      device: { kind: "text", default: null, about: "The runtime's", effect: "none" },
      nDevices: { kind: "count", default: 1, about: "There is one device", effect: "none" },
      moveToDevice: { kind: "flag", default: true, about: "The runtime's", effect: "none" },
      useBridge: { kind: "flag", default: true, about: "There is one transformer; see positions", effect: "none" },
      enableCompatibilityMode: { kind: "flag", default: false, about: "There is one transformer", effect: "none" },
      cfg: { kind: "mapping", default: {}, about: "Keys of HookedTransformerConfig (preset custom)" },
    },
  },
  SaeConfig: {
    about: "One SAE",
    fields: {
      release: { kind: "text", default: "", about: "Release, or a folder of SAEs" },
      saeId: { kind: "text", default: "", about: "SAE of the release, such as blocks.9.hook_z" },
      path: { kind: "text", default: null, about: "Folder or file of the SAE; goes before release and sae_id" },
      hookName: { kind: "text", default: null, about: "Where it hooks in; default: what its files say" },
      device: { kind: "text", default: null, about: "The model's", effect: "none" },
      dtype: { kind: "text", default: null, about: "Computation is float32", effect: "none" },
    },
  },
  GenerationStepConfig: {
    about: "Classification by generating (GenerativeClassificationConfig)",
    fields: {
      enabled: { kind: "flag", default: false, about: "Test steps generate instead of running once" },
      lmGenerationCfg: { kind: "GenerationConfig", default: {}, about: "How tokens are generated" },
      inputInspectionEnabled: { kind: "flag", default: true, about: "Batches have what is needed", effect: "none" },
    },
  },
  GenerationConfig: {
    about: "How tokens are generated",
    fields: {
      maxNewTokens: { kind: "count", default: 5, about: "Tokens to add at most" },
      doSample: { kind: "flag", default: true, about: "Draw tokens; false takes the likeliest" },
      temperature: { kind: "number", default: 1, about: "Logits are divided by it" },
      topK: { kind: "count", default: 50, about: "Only the k likeliest tokens" },
      topP: { kind: "number", default: 1, about: "Only the likeliest tokens up to this probability; 1 is all" },
      stopAtEos: { kind: "flag", default: true, about: "A row ends at an end token" },
      eosTokenId: { kind: "integer", default: null, about: "The end token; default: the tokenizer's" },
      freqPenalty: { kind: "number", default: 0, about: "Taken off a token's logit each time it stands in the row" },
      usePastKvCache: { kind: "flag", default: true, about: "Keep keys and values of earlier tokens" },
      prependBos: { kind: "flag", default: null, about: "Batches have their BOS already", effect: "none" },
      paddingSide: { oneOf: ["left", "right"], default: null, about: "Batches are padded already", effect: "none" },
      returnType: { kind: "text", default: "input", about: "Tokens, text and logits are all returned", effect: "none" },
      outputLogits: { kind: "flag", default: null, about: "Logits are kept where steps need them", effect: "none" },
      verbose: { kind: "flag", default: true, about: "Steps have their own progress", effect: "none" },
    },
  },
  LrSchedulerConfig: {
    about: "When a learning-rate schedule steps (pl_lrs_cfg)",
    fields: {
      interval: { oneOf: ["epoch", "step"], default: "epoch", about: "After each epoch or each step" },
      frequency: { kind: "count", default: 1, about: "After so many of them" },
      monitor: { kind: "text", default: null, about: "The metric that a plateau schedule watches" },
      name: { kind: "text", default: null, about: "Name in logs" },
      strict: { kind: "flag", default: true, about: "A missing metric is an error" },
    },
  },
  RunConfig: {
    about: "What is run",
    fields: {
      maxEpochs: { kind: "limit", default: 1, about: "Times through the data; −1 is no limit" },
      maxSteps: { kind: "limit", default: -1, about: "Training steps at most; −1 is all" },
      limitTrainBatches: { kind: "limit", default: -1, about: "Batches at most; −1 is all" },
      limitValBatches: { kind: "limit", default: -1, about: "Batches at most; −1 is all" },
      limitTestBatches: { kind: "limit", default: -1, about: "Batches at most; −1 is all" },
      limitPredictBatches: { kind: "limit", default: -1, about: "Batches at most; −1 is all" },
      limitAnalysisBatches: { kind: "limit", default: -1, about: "Batches at most; −1 is all" },
      ops: {
        kind: "texts",
        default: ["logit_diffs_base", "logit_diffs_sae", "logit_diffs_attr_grad", "logit_diffs_attr_ablation"],
        about: "Analyses, by op name or composition a.b.c",
      },
      ignoreManual: { kind: "flag", default: false, about: "Run ops even where the module has an analysis step" },
      targetLayers: { kind: "integers", default: null, about: "Report latents of SAEs at these layers only" },
      out: { kind: "text", default: null, about: "Folder for the store of analyses" },
    },
  },
  RegInfo: {
    about: "How a registry entry is found",
    fields: {
      modelSrcKey: { kind: "text", default: "", about: "The model's short name, such as gpt2" },
      modelCfgKey: { kind: "text", default: null, about: "The task's variant, such as rte_demo" },
      taskName: { kind: "text", default: null, about: "The task, where there is no variant" },
      adapterCombinations: { kind: "combinations", default: [], about: "Adapter combinations it is meant for" },
      phase: { kind: "text", default: null, about: "The phase it is meant for; without one, each" },
      descriptor: { kind: "text", default: null, about: "What sets it apart from others of this model and task" },
      aliases: { kind: "texts", default: [], about: "Other keys" },
      description: { kind: "text", default: "", about: "In a sentence" },
    },
  },
  RegisteredConfig: {
    about: "The two sides of a session",
    fields: {
      datamoduleCfg: { kind: "DataModuleConfig", default: {}, about: "The data's side" },
      moduleCfg: { kind: "ModuleConfig", default: {}, about: "The model's side" },
      datamoduleCls: { kind: "component", default: null, about: "The data module; default RTEBoolqDataModule" },
      moduleCls: { kind: "component", default: null, about: "The module; default RTEBoolqModule" },
    },
  },
  SessionFile: {
    about: "A session as a YAML file",
    fields: {
      regInfo: { kind: "RegInfo", default: null, about: "How a registry entry is found" },
      sharedConfig: { kind: "SharedConfig", default: {}, about: "Goes into both sides" },
      registeredCfg: { kind: "RegisteredConfig", default: {}, about: "The two sides" },
      adapterCtx: { kind: "texts", default: null, about: "Adapters, such as [core, sae_lens]; default [core]" },
      runCfg: { kind: "RunConfig", default: {}, about: "What is run" },
      seedEverything: { kind: "seed", default: null, about: "A number, or true for a random one" },
      trainer: { kind: "mapping", default: {}, about: "Settings of the trainer" },
    },
  },
  ComponentManifest: {
    about: "A shared folder (it_component.yaml)",
    fields: {
      itSchemaVersion: { kind: "count", default: 1, about: "Version of this shape: 1" },
      name: { kind: "text", default: "", about: "Name of the component" },
      description: { kind: "text", default: "", about: "In a sentence" },
      kinds: { kind: "texts", default: [], about: "module, datamodule, ops, promptconfigs" },
      requires: { kind: "ComponentRequires", default: {}, about: "What it needs" },
      module: { kind: "ComponentModule", default: {}, about: "A module and its configurations" },
      datamodules: { kind: "ComponentCode", default: {}, about: "Data modules" },
      ops: { kind: "ComponentOps", default: {}, about: "Compositions of ops" },
      promptconfigs: { kind: "ComponentPrompts", default: {}, about: "Prompt configurations" },
    },
  },
  ComponentRequires: {
    about: "What a component needs",
    fields: {
      interpretune: { kind: "text", default: null, about: "Versions of this package, such as >=0.1,<1" },
      adapters: { kind: "texts", default: [], about: "Adapters" },
      packages: { kind: "texts", default: [], about: "Packages that hold its code" },
      pip: { kind: "texts", default: [], about: "Python packages", effect: "none" },
    },
  },
  ComponentModule: {
    about: "A module and its configurations",
    fields: {
      entrypoint: { kind: "text", default: null, about: "Its code: package#Export of an installed package" },
      taskMetadata: { kind: "mapping", default: {}, about: "What is said about the task" },
      configs: { kind: "words", default: {}, about: "Files of registry entries by key" },
    },
  },
  ComponentCode: {
    about: "Code in an installed package",
    fields: { entrypoint: { kind: "text", default: null, about: "package#Export" } },
  },
  ComponentOps: {
    about: "Compositions of ops",
    fields: { files: { kind: "texts", default: [], about: "YAML files with composite_operations" } },
  },
  ComponentPrompts: {
    about: "Prompt configurations",
    fields: {
      entrypoint: { kind: "text", default: null, about: "Code is not run for prompts", effect: "none" },
      definitions: { kind: "words", default: {}, about: "Files of prompt configurations by name" },
    },
  },
  OpComposition: {
    about: "An op made of others",
    fields: {
      composition: { kind: "text", default: "", about: "Ops in order, with dots between them" },
      aliases: { kind: "texts", default: [], about: "Other names" },
      description: { kind: "text", default: "", about: "In a sentence" },
    },
  },
} as const;
