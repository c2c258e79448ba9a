/** @file What of a batch stands with the examples beside what an op gives. */
import type { JsonObject } from "../../formats/index.ts";
import type { AnalysisModule } from "../../session/index.ts";
import { AnalysisError } from "../errors.ts";
import type { AnalysisCfg } from "./cfg.ts";
import type { SavedInputs } from "./planned.ts";

/** What a cfg asks for. @throws AnalysisError for texts of token ids without a tokenizer */
export function savedInputs(
  { savePrompts = true, saveTokens = true, decodeKwargs }: AnalysisCfg,
  { model }: AnalysisModule,
): SavedInputs {
  const inputs = { prompts: savePrompts, tokens: saveTokens, answers: savePrompts };
  if (!savePrompts || decodeKwargs === undefined) return inputs;
  if (!model.hasTokenizer)
    throw new AnalysisError("token ids cannot be decoded", {
      code: "analysis/capability",
      expected: "a model with a tokenizer",
      hint: "leave decodeKwargs out",
    });
  const { skipSpecialTokens = true, cleanUpTokenizationSpaces = true } = decodeKwargs;
  const { tokenizer } = model;
  return { ...inputs, prompts: (ids) => tokenizer.decode(ids, { skipSpecialTokens, cleanUpTokenizationSpaces }) };
}

/** What of the examples table is left out or made in another way, where anything is. */
export function inputsConfig({ savePrompts = true, saveTokens = true, decodeKwargs }: AnalysisCfg): JsonObject {
  const { skipSpecialTokens = true, cleanUpTokenizationSpaces = true } = decodeKwargs ?? {};
  return {
    ...(!(savePrompts && saveTokens) && { save_prompts: savePrompts, save_tokens: saveTokens }),
    ...(savePrompts &&
      decodeKwargs !== undefined && {
        decode_kwargs: {
          skip_special_tokens: skipSpecialTokens,
          clean_up_tokenization_spaces: cleanUpTokenizationSpaces,
        },
      }),
  };
}
