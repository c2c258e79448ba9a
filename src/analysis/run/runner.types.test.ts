/** @file What does not fit a runner does not compile; results are known by their names. */
import { describe, expectTypeOf, it } from "vitest";
import { where, type Tensor } from "../../graph/index.ts";
import type { AnalysisSession } from "../../session/index.ts";
import { analysisCfg } from "../plan/cfg.ts";
import { defineOp, ops, type AnyOp } from "../ops/index.ts";
import { AnalysisRunner } from "./runner.ts";
import type { AnalysisResult, OpResult } from "../tables/index.ts";
import type { AnalysisStore } from "../store/index.ts";
import { LatentAnalysisTargets } from "../plan/targets.ts";

declare const session: AnalysisSession;
declare const store: AnalysisStore;
declare const runner: AnalysisRunner;
declare const unknownOp: AnyOp;
const mine = defineOp({ name: "mine", description: "", input: {}, output: {}, run: () => ({}) });

/** Never called: types only. */
const _results = {
  four: () => runner.run([ops.logitDiffsBase, ops.logitDiffsSae, ops.logitDiffsAttrGrad, ops.logitDiffsAttrAblation]),
  one: () => runner.run(mine),
  text: () => runner.run("logit-diffs-latent"),
  cfgs: () =>
    runner.run([
      analysisCfg({ targetOp: ops.logitDiffsBase }),
      analysisCfg({ targetOp: ops.logitDiffsSae, name: "spliced" }),
      analysisCfg({ targetOp: "logit_diffs_ablation" }),
      analysisCfg({ targetOp: [ops.logitDiffsBase, mine], name: "both" }),
      analysisCfg({ outputSchema: {} }),
    ]),
  set: () => runner.run(new Set([ops.logitDiffsBase, mine])),
  unknown: () => runner.run([unknownOp]),
};
type Of<K extends keyof typeof _results> = Awaited<ReturnType<(typeof _results)[K]>>;

describe("results", () => {
  it("are known by the names of ops", () => {
    expectTypeOf<Of<"four">>().toEqualTypeOf<{
      readonly logit_diffs_base: AnalysisResult;
      readonly logit_diffs_sae: AnalysisResult;
      readonly logit_diffs_attr_grad: AnalysisResult;
      readonly logit_diffs_attr_ablation: AnalysisResult;
    }>();
    expectTypeOf<Of<"one">>().toEqualTypeOf<{ readonly mine: OpResult }>();
    expectTypeOf<Of<"text">>().toEqualTypeOf<{ readonly logit_diffs_sae: AnalysisResult }>();
    expectTypeOf<Of<"set">["mine"]>().toEqualTypeOf<OpResult>();
    // @ts-expect-error there is no such analysis among them
    expectTypeOf<Of<"four">["logit_diffs"]>();
  });

  it("are known by the names that cfgs give", () => {
    expectTypeOf<Of<"cfgs">["logit_diffs_base"]>().toEqualTypeOf<AnalysisResult>();
    expectTypeOf<Of<"cfgs">["spliced"]>().toEqualTypeOf<AnalysisResult>();
    expectTypeOf<Of<"cfgs">["logit_diffs_attr_ablation"]>().toEqualTypeOf<AnalysisResult>();
    expectTypeOf<Of<"cfgs">["both"]>().toEqualTypeOf<AnalysisResult | OpResult>();
    expectTypeOf<Of<"cfgs">["analysis_step"]>().toEqualTypeOf<OpResult>();
    // @ts-expect-error it has another name
    expectTypeOf<Of<"cfgs">["logit_diffs_sae"]>();
  });

  it("of ops that are found at run time may be of any name", () => {
    expectTypeOf<Of<"unknown">>().toEqualTypeOf<{ readonly [name: string]: AnalysisResult | OpResult }>();
  });

  it("of stores are those of the four under their names, else any op's", () => {
    expectTypeOf(() => store.load("logit_diffs_base")).returns.resolves.toEqualTypeOf<AnalysisResult>();
    expectTypeOf(() => store.load("mine")).returns.resolves.toEqualTypeOf<OpResult>();
  });
});

it("options of wrong names and types do not compile", () => {
  const never = (): void => {
    // @ts-expect-error it is limitAnalysisBatches
    new AnalysisRunner(session, { limitAnalysisBatch: 3 });
    // @ts-expect-error a split is one of four
    new AnalysisRunner(session, { split: "dev" });
    // @ts-expect-error targets have layers
    new AnalysisRunner(session, { targets: { layer: [9] } });
    // @ts-expect-error layers are numbers
    new LatentAnalysisTargets({ layers: ["9"] });
    // @ts-expect-error it is savePrompts
    analysisCfg({ targetOp: ops.logitDiffsBase, save_prompts: false });
    // @ts-expect-error an op, not a number
    analysisCfg({ targetOp: 3 });
    // @ts-expect-error ops, names or cfgs are run
    void runner.run([3]);
    analysisCfg({
      targetOp: "logit_diffs_ablation",
      fwdHooks: [["blocks.*.hook_mlp_out", (x) => x.mul(2)]],
      namesFilter: /hook_z/,
      decodeKwargs: { skipSpecialTokens: false },
      ablateLatentFn: (acts, { mask }) => where(mask, 0, acts),
    });
    // @ts-expect-error an ablation gives a tensor
    analysisCfg({ targetOp: "logit_diffs_ablation", ablateLatentFn: () => 0 });
    // @ts-expect-error a hook of an analysis is a filter and a plain function
    analysisCfg({ targetOp: "logit_diffs_base", fwdHooks: [["hook_embed", async (x: Tensor) => Promise.resolve(x)]] });
    // @ts-expect-error it is skipSpecialTokens
    analysisCfg({ targetOp: "logit_diffs_base", decodeKwargs: { skip_special_tokens: true } });
    // @ts-expect-error the table or the component
    new AnalysisRunner(session, { preferOps: "both" });
    // @ts-expect-error a session has two sides
    new AnalysisRunner({ module: session.module });
  };
  expectTypeOf(never).toBeFunction();
});
