/** Types of ops: columns are typed by their declarations, and compositions that lack a column do not compile. */
import { describe, expect, expectTypeOf, test } from "vitest";
import { leaf, mul, type Tensor } from "../../graph/index.ts";
import type { HookTensors, PerLatent } from "../tables/columns.ts";
import { analysisCfg } from "../plan/cfg.ts";
import type { AnalysisRunner } from "../run/runner.ts";
import {
  compose,
  defineOp,
  manualStep,
  ops,
  type AnalysisBatch,
  type OpContext,
  type OpenColumns,
  type OpSetting,
} from "./index.ts";

const diffs = { logit_diffs: { per: "example", type: "float32", description: "" } } as const;
const score = { score: { per: "example", type: "float32", description: "" } } as const;

describe("what an op reads", () => {
  test("is typed by its columns", () => {
    defineOp({
      name: "reads",
      description: "",
      input: {
        ...diffs,
        labels: { per: "example", type: "int32", optional: true, description: "" },
        prompts: { per: "example", type: "string", description: "" },
        names: { per: "batch", type: "string", list: true, description: "" },
        effects: { per: "latent", type: "float32", description: "" },
        logits: { holds: "tensor", description: "" },
        cache: { holds: "hooks", description: "" },
      },
      output: {},
      run: (inputs, context) => {
        expectTypeOf(inputs.logit_diffs).toEqualTypeOf<Tensor>();
        expectTypeOf(inputs.labels).toEqualTypeOf<Tensor | undefined>();
        expectTypeOf(inputs.prompts).toEqualTypeOf<readonly (string | null)[]>();
        expectTypeOf(inputs.names).toEqualTypeOf<readonly (string | null)[]>();
        expectTypeOf(inputs.effects).toEqualTypeOf<PerLatent>();
        expectTypeOf(inputs.logits).toEqualTypeOf<Tensor>();
        expectTypeOf(inputs.cache).toEqualTypeOf<HookTensors>();
        // @ts-expect-error the op does not declare this column
        expect(inputs.loss).toBeUndefined();
        expectTypeOf(context).toExtend<OpContext>();
        return {};
      },
    });
  });

  test("state is typed by its fields", () => {
    defineOp({
      name: "remembers",
      description: "",
      input: {},
      output: {},
      state: { fields: { seen: () => 0 } },
      run: (_inputs, { state }) => {
        expectTypeOf(state.seen).toEqualTypeOf<number>();
        // @ts-expect-error no such field
        state.other = 1;
        return {};
      },
    });
  });
});

describe("what an op gives", () => {
  const x = leaf(Float32Array.of(1), [1]);
  const define = (run: () => { score: Tensor }): unknown =>
    defineOp({ name: "gives", description: "", input: {}, output: score, run });

  test("is what it declares, as expressions or data", () => {
    define(() => ({ score: x }));
    defineOp({ name: "data", description: "", input: {}, output: score, run: () => ({ score: [1] }) });
    defineOp({ name: "arrays", description: "", input: {}, output: score, run: () => ({ score: Float32Array.of(1) }) });
    const missing = defineOp({
      name: "missing",
      description: "",
      input: {},
      output: score,
      // @ts-expect-error the column is not given
      run: () => ({}),
    });
    const text = defineOp({
      name: "text",
      description: "",
      input: {},
      output: score,
      // @ts-expect-error a text is not a number
      run: () => ({ score: "high" }),
    });
    const hooks = defineOp({
      name: "hooks",
      description: "",
      input: {},
      output: score,
      // @ts-expect-error values by hook are not one value for each example
      run: () => ({ score: { "blocks.0.hook_resid_pre": x } }),
    });
    const one = defineOp({
      name: "one",
      description: "",
      input: {},
      output: { cache: { holds: "hooks", description: "" } },
      // @ts-expect-error one tensor is not values by hook
      run: () => ({ cache: x }),
    });
    const step = manualStep(
      "step",
      score,
      // @ts-expect-error another column
      () => ({ points: x }),
    );
    expect([missing, text, hooks, one, step].map(({ name }) => name)).toEqual([
      "missing",
      "text",
      "hooks",
      "one",
      "step",
    ]);
  });

  test("of running it, too", () => {
    type Columns = Awaited<ReturnType<typeof ops.logitDiffsSae.run>>;
    expectTypeOf<Columns>().toHaveProperty("logit_diffs");
    expectTypeOf<Columns["alive_latents"]>().toEqualTypeOf<PerLatent>();
    // What is intermediate is dropped.
    expectTypeOf<Columns>().not.toHaveProperty("cache");
    expectTypeOf<Columns>().not.toHaveProperty("correct_activations");
    // The forward pass' logits are replaced by those of the answers, which are stored.
    expectTypeOf<(typeof ops.logitDiffsBase)["output"]["answer_logits"]["list"]>().toEqualTypeOf<true>();
  });
});

describe("compositions", () => {
  const double = defineOp({
    name: "double",
    description: "",
    input: diffs,
    output: score,
    run: ({ logit_diffs }) => ({ score: mul(logit_diffs, 2) }),
  });
  const readsHooks = defineOp({
    name: "reads_hooks",
    description: "",
    input: { answer_logits: { holds: "hooks", description: "" } },
    output: {},
    run: () => ({}),
  });

  test("compile where each member finds its columns", () => {
    const mine = compose(ops.labelsToIds, ops.modelFwd, ops.logitDiffs, double);
    expect(mine.name).toBe("labels_to_ids.model_fwd.logit_diffs.double");
    expect(compose(ops.logitDiffsBase, double).steps).toHaveLength(4);
    const nested = compose(compose(compose(ops.labelsToIds, ops.modelFwd), ops.logitDiffs), double);
    expect(nested.steps).toEqual(mine.steps);
    expectTypeOf<(typeof nested)["output"]>().toEqualTypeOf<(typeof mine)["output"]>();
    expectTypeOf<(typeof nested)["input"]>().toEqualTypeOf<(typeof mine)["input"]>();
    expect(compose(ops.logitDiffsSae, ops.latentCorrectActs).steps).toHaveLength(5);
    expectTypeOf<(typeof mine)["output"]>().toHaveProperty("score");
    expectTypeOf<keyof (typeof mine)["output"]>().toEqualTypeOf<
      "label_ids" | "orig_labels" | "answer_indices" | "loss" | "logit_diffs" | "preds" | "answer_logits" | "score"
    >();
  });

  test("read what no member gives, from the chain that they become a part of", () => {
    const part = compose(ops.logitDiffs, double);
    expectTypeOf<OpenColumns<typeof part>>().toEqualTypeOf<"answer_logits" | "answer_indices" | "orig_labels">();
    const whole = compose(compose(ops.labelsToIds, ops.modelFwd), part);
    const flat = compose(ops.labelsToIds, ops.modelFwd, ops.logitDiffs, double);
    expectTypeOf<(typeof whole)["input"]>().toEqualTypeOf<(typeof flat)["input"]>();
    expectTypeOf<(typeof whole)["output"]>().toEqualTypeOf<(typeof flat)["output"]>();
    expect([whole.input, whole.output, whole.steps]).toEqual([flat.input, flat.output, flat.steps]);
    // Required where one of them requires it.
    const lenient = defineOp({
      name: "lenient",
      description: "",
      input: { logit_diffs: { ...diffs.logit_diffs, optional: true } },
      output: {},
      run: () => ({}),
    });
    for (const both of [compose(lenient, double), compose(double, lenient)]) {
      expectTypeOf<(typeof both)["input"]>().toEqualTypeOf<typeof diffs>();
      expect(both.input).toEqual(diffs);
    }
  });

  test("are not run where one is missing", () => {
    type Run = AnalysisRunner["run"];
    const never = (run: Run, bare: OpSetting & { batch: AnalysisBatch }): void => {
      void run([ops.logitDiffsBase, compose(ops.logitDiffsBase, double)]);
      // @ts-expect-error logit_diffs is not there
      void run(compose(ops.labelsToIds, double));
      // @ts-expect-error the plain pass has no cache
      void run([ops.logitDiffsBase, compose(ops.logitDiffsBase, ops.latentCorrectActs)]);
      // @ts-expect-error in this order, the labels come too late
      void run(compose(ops.modelFwd, ops.logitDiffs, ops.labelsToIds));
      // @ts-expect-error an op that reads a column cannot be run without it
      void compose(ops.labelsToIds, double).run({}, bare);
      // @ts-expect-error nobody gives it
      analysisCfg({ targetOp: double });
      analysisCfg({ targetOp: double, runInputs: { logit_diffs: [1, 2] } });
      analysisCfg({ targetOp: compose(ops.labelsToIds, double), inputStore: "runs/rte" });
    };
    expectTypeOf(never).toBeFunction();
  });

  test("do not where it holds something else", () => {
    // @ts-expect-error logits are one tensor
    expect(compose(ops.modelFwd, readsHooks).name).toBe("model_fwd.reads_hooks");
  });
});

test("parameters are typed", () => {
  ops.conceptDirection.with({ mode: "paired_rejection", groupA: ["Yes"], groupB: ["No"] });
  // @ts-expect-error no such mode
  expect(() => ops.conceptDirection.with({ mode: "median" })).toThrow(/parameter of concept_direction/);
  // @ts-expect-error no such parameter
  expect(() => ops.modelFwdIntervention.with({ strength: 2 })).toThrow(/parameter of model_fwd_intervention/);
});
