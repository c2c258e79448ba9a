/** @file What decides the numbers of a run: the config whose hash is its content address, whoever runs it. */
import type { Json, JsonObject } from "../../formats/index.ts";
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { hooksOf } from "../engine/targets.ts";
import type { OpOptions } from "../ops/index.ts";
import type { HookInfo } from "../tables/index.ts";
import { hookConfig } from "./hookOptions.ts";
import { modelHash, saeHash } from "./identity.ts";
import type { Survey } from "./survey.ts";

/** The facts of a run. */
export interface RunContents {
  readonly model: HookedModel;
  readonly saes: readonly LatentModel[];
  /** Hooks whose latents are reported. */
  readonly hooks: readonly HookInfo[];
  readonly plan: Survey;
  readonly batchSize: number;
  readonly epochs?: number;
  readonly options: OpOptions;
}

/**
 * Everything that decides the results, and nothing else. Contents, not names: what the data's reader was told (task,
 * prompt, template, answers, limits) decides its batches, and those are hashed; where there are no guesses from pads, what
 * these are guessed with does not matter. Equal runs have equal configs, whether a data set or a session's split is run.
 */
export function runConfig({ model, saes, hooks, plan, batchSize, epochs = 1, options }: RunContents): JsonObject {
  const { positions = "explicit", paddingSide = "left", prependBos = model.cfg.default_prepend_bos } = options;
  return {
    // How this record is written. Stores of another form are read as ever; they are not continued.
    form: 2,
    model: modelHash(model),
    saes: hooksOf(model, saes).map(({ sae }): Json => ({ hook: sae.hookNameOut, hash: saeHash(sae) })),
    reported: hooks.map(({ name }) => name),
    data: { examples: plan.examples, sha256: plan.sha256 },
    answers: plan.answers,
    batch_size: batchSize,
    epochs,
    positions,
    ...(positions === "tlLegacy" && { padding_side: paddingSide, prepend_bos: prependBos }),
    diff: options.diff ?? "mean",
    ablate: options.ablate ?? "answer",
    use_error_term: options.useErrorTerm ?? false,
    gradient_through_error: options.gradientThroughError ?? false,
    ...(options.saveInputs === false && { save_inputs: false }),
    ...hookConfig(options),
  };
}
