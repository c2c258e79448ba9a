/** @file Parameters as named trees: which leaves a model is made of, and a model whose leaves can be trained. */
import { leaf, type Tensor } from "../../graph/index.ts";
import { rebuild, topological, withInputs } from "../../graph/traverse.ts";
import { compileFilter } from "../../model/hooks/filter.ts";
import type { HookedModel } from "../../model/index.ts";
import { TrainError } from "../errors.ts";

/** Further names of parameters. */
export type ParameterNames = ReadonlyMap<string, readonly string[]>;

/** A model over leaves that a {@link Learner} may change. */
export interface Trainable {
  readonly model: HookedModel;
  /** Leaves by name: the TransformerLens name where a leaf is one parameter, else the file's. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** TransformerLens names of leaves that hold several parameters, and the file's names of the others. */
  readonly aliases: ParameterNames;
}

/**
 * The names that globs mean, by themselves or by one of their aliases.
 * @throws TrainError for a glob that means none
 * @example
 * const names = ["blocks.0.attn.W_Q", "blocks.0.mlp.W_in"];
 * [...matchNames(["blocks.*.mlp.*"], names)]; // ["blocks.0.mlp.W_in"]
 */
export function matchNames(
  globs: readonly string[],
  names: Iterable<string>,
  aliases: ParameterNames = new Map(),
): ReadonlySet<string> {
  const all = [...names];
  const found = new Set<string>();
  for (const glob of globs) {
    const matches = compileFilter(glob);
    const meant = all.filter((name) => [name, ...(aliases.get(name) ?? [])].some(matches));
    if (meant.length === 0)
      throw new TrainError("no parameter has a name like this", {
        code: "train/glob",
        expected: `one of ${all.slice(0, 6).join(", ")}${all.length > 6 ? `, … (${all.length} in all)` : ""}`,
        received: glob,
      });
    for (const name of meant) found.add(name);
  }
  return found;
}

/**
 * A copy of a model that can be trained: the same views over leaves of its own. Tied parameters stay tied. Runs of the
 * model see every step of the learner at once.
 * @example
 * const { model: student, parameters } = trainable(model);
 * const learner = new Learner({ parameters, optimizer: { name: "AdamW", lr: 1e-3 } });
 * const batch = student.batch([[1, 2, 3, 4]]);
 * const { loss } = await learner.step({ loss: student.trace(batch).loss });
 */
export function trainable(model: HookedModel): Trainable {
  const views = [...model.weights.values()];
  const leaves = topological(views).filter((x) => x.storage !== undefined);
  const held = new Map<Tensor, string[]>(leaves.map((x) => [x, []]));
  for (const [name, view] of model.weights)
    for (const x of topological([view])) if (x.storage !== undefined) held.get(x)!.push(name);
  const copies = new Map<Tensor, Tensor>();
  const parameters = new Map<string, Tensor>();
  const aliases = new Map<string, readonly string[]>();
  for (const [x, names] of held) {
    // The unembedding of a tied model is a view of its embedding.
    const own = model.cfg.tie_word_embeddings && names.length > 1 ? names.filter((n) => n !== "unembed.W_U") : names;
    const fileName = x.storage!.name;
    const name = own.length === 1 ? own[0]! : fileName;
    const copy = leaf(Float32Array.from(x.data as Float32Array), x.dims, { name, sizes: x.storage!.sizes });
    copies.set(x, copy);
    parameters.set(name, copy);
    aliases.set(
      name,
      [fileName, ...names].filter((other) => other !== name),
    );
  }
  return { model: withLeaves(model, copies), parameters, aliases };
}

/**
 * A model with what it has learnt as weights, which are no longer changed: graphs may pack them and keep views of them.
 * @example
 * const { model: student } = trainable(model);
 * const done = settled(student);
 * await saveModel("my-model", done);
 */
export function settled(model: HookedModel): HookedModel {
  const leaves = topological([...model.weights.values()]).filter((x) => x.storage !== undefined);
  const copies = new Map(
    leaves.map((x) => {
      const { name, sizes } = x.storage!;
      return [x, leaf(x.data.slice(), x.dims, { name, sizes, role: "weight" })];
    }),
  );
  return withLeaves(model, copies);
}

/** The same model over other leaves. */
function withLeaves(model: HookedModel, leaves: ReadonlyMap<Tensor, Tensor>): HookedModel {
  const rebuilt = rebuild([...model.weights.values()], (node, inputs) => leaves.get(node) ?? withInputs(node, inputs));
  return model.withWeights(new Map([...model.weights].map(([name, view]) => [name, rebuilt.get(view)!])));
}
