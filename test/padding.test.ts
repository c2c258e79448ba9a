/** Results at real tokens do not depend on padding: on which side, how much, or what ids stand there. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { analyzeBatch } from "../src/analysis/run/batch.ts";
import type { AnalysisBatch } from "../src/analysis/ops/index.ts";
import { analysisNames, type AnalysisResult } from "../src/analysis/tables/index.ts";
import { gradients, sum, takeRows, type Tensor } from "../src/graph/index.ts";
import { tokenBatch, type HookedModel, type TokenBatch, type TokenBatchOptions } from "../src/model/index.ts";
import { spliceHooks, type Sae } from "../src/sae/index.ts";
import { indexLeaf, numbersOf } from "./support/model.ts";
import { notCausal, randomModel, randomSae, shapes, type SaeKind } from "./support/random.ts";

const configs = { ...shapes, ...notCausal };
const families = Object.keys(configs);
const vocabulary = 30;

/** Rows of ids with pads before and behind each. */
interface Padded {
  rows: number[][];
  ids: number[][];
  mask: number[][];
}

/** Two or three rows, each somewhere in a rectangle, with any ids around them. */
const rectangles = (sides: "left" | "right" | "both"): fc.Arbitrary<Padded> =>
  fc
    .array(fc.array(fc.integer({ min: 0, max: vocabulary - 1 }), { minLength: 2, maxLength: 7 }), {
      minLength: 2,
      maxLength: 3,
    })
    .chain((rows) => {
      const longest = Math.max(...rows.map((row) => row.length));
      return fc.record({
        rows: fc.constant(rows),
        length: fc.integer({ min: longest, max: longest + 6 }),
        shares: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
          minLength: rows.length,
          maxLength: rows.length,
        }),
        pads: fc.array(fc.integer({ min: 0, max: vocabulary - 1 }), { minLength: 16, maxLength: 16 }),
      });
    })
    .map(({ rows, length, shares, pads }) => {
      const before = rows.map((row, b) => {
        const room = length - row.length;
        return sides === "left" ? room : sides === "right" ? 0 : Math.round(room * shares[b]!);
      });
      const fill = (row: readonly number[], b: number, pad: (i: number) => number): number[] =>
        Array.from({ length }, (_, p) => row[p - before[b]!] ?? pad(p));
      const ids = rows.map((row, b) => fill(row, b, (p) => pads[(p + 3 * b) % pads.length]!));
      return {
        rows,
        ids,
        mask: rows.map((row, b) =>
          fill(
            row.map(() => 1),
            b,
            () => 0,
          ),
        ),
      };
    });

/** The part of a value of one row that belongs to its real tokens; scores and patterns have queries and keys. */
function realPart(x: Tensor, name: string, b: number, mask: readonly number[]): number[] {
  const [, ...dims] = x.dims;
  const size = dims.reduce((a, n) => a * n, 1);
  const data = numbersOf(x).slice(b * size, (b + 1) * size);
  const square = /hook_(attn_scores|pattern)$/.test(name);
  const axes = square ? [1, 2] : [0];
  return data.filter((_, i) => {
    let rest = i;
    const at: number[] = [];
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      at[axis] = rest % dims[axis]!;
      rest = Math.floor(rest / dims[axis]!);
    }
    return axes.every((axis) => mask[at[axis]!] === 1);
  });
}

/** Everything a pass computes, and a gradient: by name, [batch, …]. */
async function everything(
  model: HookedModel,
  saes: readonly Sae[],
  batch: TokenBatch,
): Promise<Record<string, Tensor>> {
  const last = indexLeaf(batch.lastPositions, [batch.batchSize, 1], [batch.batch, 1]);
  const of = (traced: ReturnType<HookedModel["trace"]>): Record<string, Tensor> => {
    const watched = Object.keys(traced.hooks).filter((n) => /hook_(resid_pre|z|k|sae_acts_post)$/.test(n));
    const scalar = sum(takeRows(traced.logits, last));
    const found = gradients(
      scalar,
      watched.map((n) => traced.hooks[n]!),
    );
    return {
      logits: traced.logits,
      ...traced.hooks,
      ...Object.fromEntries(watched.map((n, i) => [`gradient ${n}`, found[i]!])),
    };
  };
  const named = {
    "plain ": model.trace(batch),
    "spliced ": model.trace(batch, { splices: spliceHooks(saes), capture: "*" }),
  };
  const tree = Object.entries(named).flatMap(([prefix, traced]) =>
    Object.entries(of(traced)).map(([n, x]) => [prefix + n, x] as const),
  );
  return model.runtime.realize(Object.fromEntries(tree));
}

/** Kinds of SAEs at the residual and at the heads. */
const kinds: { readonly [family: string]: readonly [SaeKind, SaeKind] } = {
  gpt2: ["standard", "jumprelu"],
  llama: ["topk", "standard-constant-norm"],
  gemma2: ["gated", "standard-layer-norm"],
  bidirectional: ["batchtopk", "topk-rescaled"],
  "own masks": ["standard", "gated"],
};

interface Setup {
  model: HookedModel;
  saes: Sae[];
}

function setup(family: string): Setup {
  const model = randomModel(configs[family]!, 11);
  const [residual, heads] = kinds[family]!;
  const saes = [
    randomSae(model, "blocks.0.hook_resid_post", residual, 8, 1),
    randomSae(model, "blocks.2.attn.hook_z", heads, 8, 2),
  ];
  return { model, saes };
}

/** Compares a batch with its rows one by one. */
async function checkInvariance(
  { model, saes }: Setup,
  { rows, ids, mask }: Padded,
  options: TokenBatchOptions,
  except = /^$/,
): Promise<void> {
  const batch = tokenBatch(ids, options);
  expect(batch.mask).toEqual(mask);
  const together = await everything(model, saes, batch);
  for (const [b, row] of rows.entries()) {
    const alone = await everything(model, saes, tokenBatch([row]));
    expect(Object.keys(together)).toEqual(Object.keys(alone));
    for (const [name, x] of Object.entries(alone))
      if (!except.test(name)) expect(realPart(together[name]!, name, b, mask[b]!), name).toBeAllClose(numbersOf(x));
  }
  // Nothing flows from padding: gradients there are exactly 0.
  for (const [name, x] of Object.entries(together))
    if (name.includes("gradient"))
      mask.forEach((real, b) => {
        const padding = real.map((m) => 1 - m);
        const at = realPart(x, name, b, padding);
        expect(
          at.every((g) => g === 0),
          name,
        ).toBe(true);
      });
}

const runs = { numRuns: 4, seed: 20 };

describe.each(families)("%s", (family) => {
  const made = setup(family);
  const { model, saes } = made;

  test("explicit mask: every hook point, with and without SAEs, logits and gradients", async () => {
    await fc.assert(
      fc.asyncProperty(rectangles("both"), (padded) => checkInvariance(made, padded, { mask: padded.mask })),
      runs,
    );
  });

  test("explicit mask: losses", async () => {
    await fc.assert(
      fc.asyncProperty(rectangles("both"), async ({ rows, ids, mask }) => {
        const batch = tokenBatch(ids, { mask });
        const perToken = await model.loss(batch, { perToken: true });
        const width = batch.length - 1;
        const all: number[] = [];
        for (const [b, row] of rows.entries()) {
          const alone = numbersOf(await model.loss([row], { perToken: true }));
          const received = numbersOf(perToken).slice(b * width, (b + 1) * width);
          const counted = mask[b]!.slice(0, -1).map((m, p) => m * mask[b]![p + 1]!);
          expect(received.filter((_, p) => counted[p] === 1)).toBeAllClose(alone);
          expect(received.filter((_, p) => counted[p] === 0).every((x) => x === 0)).toBe(true);
          all.push(...alone);
        }
        expect(numbersOf(await model.loss(batch))).toBeAllClose([all.reduce((a, b) => a + b) / all.length]);
      }),
      runs,
    );
  });

  // Relative positions do not change with columns; learned ones do, unless rows start at column 0.
  const sides = family === "llama" || family === "gemma2" ? "both" : "right";
  test(`positions "padded": ${sides === "both" ? "any side, as rotations see only distances" : "padding behind"}`, async () => {
    await fc.assert(
      fc.asyncProperty(rectangles(sides), (padded) =>
        checkInvariance(made, padded, { mask: padded.mask, positions: "padded" }, /hook_rot_[qk]$/),
      ),
      { ...runs, numRuns: 2 },
    );
  });

  test.each(["left", "right"] as const)(
    'positions "tlLegacy" where pads are no tokens of the text: %s',
    async (side) => {
      const padId = vocabulary - 1;
      const textOnly = rectangles(side).map(({ rows, mask }) => {
        const text = rows.map((row) => row.map((id) => id % padId));
        const ids = mask.map((real, b) => {
          const words = text[b]!.values();
          return real.map((m) => (m === 1 ? words.next().value! : padId));
        });
        return { rows: text, ids, mask };
      });
      const legacy = { padId, bosId: undefined, paddingSide: side, prependBos: false };
      await fc.assert(
        fc.asyncProperty(textOnly, (padded) => checkInvariance(made, padded, { positions: "tlLegacy", legacy })),
        { ...runs, numRuns: 2 },
      );
    },
  );

  test("all four analyses", async () => {
    const batchOf = (ids: readonly number[][], mask: readonly number[][], first: number): AnalysisBatch => ({
      index: 0,
      dims: [ids.length, ids[0]!.length],
      tokens: ids.flat(),
      mask: mask.flat(),
      answerIndices: mask.map((row) => row.lastIndexOf(1)),
      labels: ids.map((_, b) => (first + b) % 3),
      classes: 3,
      answerIds: ids.flatMap((_, b) => [1 + first + b, 5, 9]),
      examples: ids.map((_, b) => first + b),
    });
    const numbers = ({ examples, latents }: AnalysisResult, example: number): Record<string, number[]> => {
      const { loss, logit_diffs, preds, answer_logits } = examples.find((e) => e.example === example)!;
      const where = Array.from(latents.example.keys()).filter((i) => latents.example[i] === example);
      const column = (
        name:
          | "hook"
          | "latent"
          | "activation"
          | "attribution_values"
          | "ablated_logit_diff"
          | "ablated_loss"
          | "ablated_pred",
      ): number[] => where.flatMap((i) => latents[name]?.[i] ?? []);
      return {
        values: [loss, logit_diffs, preds, ...answer_logits],
        hooks: column("hook"),
        latents: column("latent"),
        activations: column("activation"),
        effects: column("attribution_values"),
        ablated: [...column("ablated_logit_diff"), ...column("ablated_loss"), ...column("ablated_pred")],
      };
    };
    await fc.assert(
      fc.asyncProperty(rectangles("both"), fc.boolean(), async ({ rows, ids, mask }, useErrorTerm) => {
        const together = await analyzeBatch(model, saes, batchOf(ids, mask, 0), { useErrorTerm });
        for (const [b, row] of rows.entries()) {
          const alone = await analyzeBatch(model, saes, batchOf([row], [row.map(() => 1)], b), { useErrorTerm });
          for (const name of analysisNames) {
            const expected = numbers(alone[name]!, b);
            const received = numbers(together[name]!, b);
            for (const [key, values] of Object.entries(expected))
              expect(received[key], `${name} ${key}`).toBeAllClose(values);
          }
        }
      }),
      { ...runs, numRuns: 3 },
    );
  });
});
