/**
 * @file Training of SAEs whose latents are many at the start and few later: as one graph first, then touching active
 * latents only. Both give the same steps up to rounding.
 */
import type { Runtime } from "../../runtime/index.ts";
import type { SaeArrays } from "../../sae/index.ts";
import type { TrainedSaeConfig } from "./config.ts";
import { denseLearner } from "./denseLearner.ts";
import type { AdamMoments, SaeLearner, SaeStepInput, SaeStepResult } from "./learner.ts";
import { thresholdLearner, type ThresholdLearner } from "./sparse/thresholdLearner.ts";

/** The share of active latents below which only these are touched: well below what there is room for. */
const few = 1 / 32;

type Route =
  | { readonly touches: "all"; readonly learner: SaeLearner }
  | { readonly touches: "active"; readonly learner: ThresholdLearner };

/** @param start in SAELens' shapes */
export function thinningLearner(
  cfg: TrainedSaeConfig,
  start: SaeArrays,
  options: { tokens: number; runtime: Runtime; adam: AdamMoments },
): SaeLearner {
  let route: Route = { touches: "all", learner: denseLearner(cfg, start, options) };

  const change = async (touches: Route["touches"]): Promise<void> => {
    if (touches === route.touches) return;
    const { learner } = route;
    const [parameters, state] = [learner.parameters(), learner.state()];
    await learner.dispose();
    route =
      touches === "all"
        ? { touches, learner: denseLearner(cfg, parameters, options) }
        : { touches, learner: await thresholdLearner(cfg, parameters, options) };
    await route.learner.restore(state);
  };

  const taken = async (input: SaeStepInput): Promise<SaeStepResult> => {
    if (route.touches === "all") return route.learner.step(input);
    const result = await route.learner.step(input);
    if (result !== undefined) return result;
    await change("all");
    return taken(input);
  };

  return {
    step: async (input) => {
      const result = await taken(input);
      if (result.touched < few * options.tokens * cfg.dSae) await change("active");
      return result;
    },
    parameters: () => route.learner.parameters(),
    state: () => ({ ...route.learner.state(), touches: route.touches }),
    restore: async (state) => {
      await change(state.touches ?? "all");
      await route.learner.restore(state);
    },
    dispose: () => route.learner.dispose(),
  };
}
