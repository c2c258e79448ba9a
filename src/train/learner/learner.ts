/** @file What learns: parameters, the optimiser's state, and the step that changes both in one run of one graph. */
import { add, gradients, leaf, Tensor } from "../../graph/index.ts";
import type { OptionNames } from "../../graph/options.ts";
import {
  defaultRuntime,
  memory,
  type Buffer,
  type CompiledUpdate,
  type LedgerHandle,
  type Runtime,
  type Updates,
} from "../../runtime/index.ts";
import { checkedClip, clipGradients, type Clip } from "./clip.ts";
import { checkTrainOptions, TrainError } from "../errors.ts";
import { makeOptimizer, type Optimizer, type OptimizerConfig } from "./optimizers.ts";
import { matchNames, type ParameterNames } from "./parameters.ts";
import { joined, parted, smallParameter } from "./rows.ts";
import { StepReuse } from "./stepReuse.ts";

/** Parameters that share an optimiser's options. */
export interface ParameterGroup {
  readonly name: string;
  /** Globs over names: `blocks.*.attn.*`. A parameter is in the first group that names it. */
  readonly params: readonly string[];
  /** What differs from the learner's optimiser. */
  readonly optimizer?: OptimizerConfig;
}

export interface LearnerOptions {
  /** Start values by name: leaves of data, which are changed in place. See {@link trainable}. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Other names of parameters, for globs. */
  readonly aliases?: ParameterNames;
  readonly optimizer: OptimizerConfig;
  readonly groups?: readonly ParameterGroup[];
  /** Globs of parameters that are not trained. */
  readonly frozen?: readonly string[];
  readonly clip?: Clip;
  readonly runtime?: Runtime;
  /** What the ledger calls it. */
  readonly name?: string;
}

const learnerNames: OptionNames<LearnerOptions> = {
  parameters: true,
  aliases: true,
  optimizer: true,
  groups: true,
  frozen: true,
  clip: true,
  runtime: true,
  name: true,
};

/** What a step came to. */
export interface StepResult<M = unknown> {
  readonly loss: number;
  /** The norm of all gradients before clipping; undefined where nothing asked for it. */
  readonly gradNorm: number | undefined;
  /** What was asked for beside the loss, realized. */
  readonly metrics: M;
}

/** A loss as an expression, and whatever else is to be seen of the step. */
export interface Objective<M = unknown> {
  /** A scalar. */
  readonly loss: Tensor;
  readonly metrics?: M;
  /** Leaves that are no parameters and change with the step: running averages, counters. */
  readonly updates?: Updates;
}

/** A step that was traced once. */
export interface CompiledStep<Inputs extends string, M> {
  (inputs: { readonly [K in Inputs]: Tensor | Buffer }): Promise<StepResult<M>>;
  dispose(): Promise<void>;
}

/** Everything that decides how training goes on, as a checkpoint holds it. */
export interface LearnerState {
  /** `parameter.<name>` and `<slot>.<name>`. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** Updates that each parameter has seen. */
  readonly steps: Readonly<Record<string, number>>;
  readonly learningRates: Readonly<Record<string, number>>;
  readonly frozen: readonly string[];
}

interface Group {
  readonly name: string;
  readonly optimizer: Optimizer;
  lr: number;
}

interface Held {
  readonly name: string;
  readonly leaf: Tensor;
  readonly group: Group;
  slots: Readonly<Record<string, Tensor>> | undefined;
  /** Updates so far. */
  steps: number;
  frozen: boolean;
}

/** What the graph of a step gives. */
interface StepTree<M> {
  readonly loss: Tensor;
  readonly gradNorm?: Tensor;
  readonly metrics: M;
}

/** The graph of a step, and what it changes. */
interface Built<M> {
  readonly tree: StepTree<M>;
  readonly updates: Updates;
}

interface Made<Inputs extends string, M> {
  readonly version: number;
  readonly active: readonly Held[];
  readonly run: CompiledUpdate<Inputs, StepTree<M>>;
}

const makeGroup = (name: string, config: OptimizerConfig): Group => {
  const optimizer = makeOptimizer(config);
  return { name, optimizer, lr: optimizer.lr };
};

const slopesOf = (loss: Tensor, active: readonly Held[]): Tensor[] =>
  gradients(
    loss,
    active.map((held) => held.leaf),
  );

const finite = ({ loss, gradNorm }: StepTree<unknown>): boolean =>
  Number.isFinite(loss.item()) && (gradNorm === undefined || Number.isFinite(gradNorm.item()));

function notFinite({ loss, gradNorm }: StepTree<unknown>): TrainError {
  const norm = gradNorm === undefined ? "" : `, norm of the gradients ${gradNorm.item()}`;
  return new TrainError("the loss is not finite; the parameters are as they were before this step", {
    code: "train/not-finite",
    received: `loss ${loss.item()}${norm}`,
    hint: "lower the learning rate, clip the gradients, or look at the batch",
  });
}

/** Whether metrics are scalars by name, or none: what says nothing else of its step. */
const areScalars = (metrics: unknown): boolean =>
  metrics === undefined ||
  (typeof metrics === "object" &&
    metrics !== null &&
    Object.getPrototypeOf(metrics) === Object.prototype &&
    Object.values(metrics).every((x) => x instanceof Tensor && x.rank === 0));

const filled = (like: Tensor, value: number, name: string): Tensor =>
  leaf(new Float32Array(like.data.length).fill(value), like.dims, { name });

/**
 * Parameters with an optimiser. A step (forward, loss, gradients, clipping, optimiser) is one graph; parameters and the
 * optimiser's state stay in place between steps. A step whose loss is not finite changes nothing.
 * @example
 * const w = leaf(Float32Array.of(5), [1]);
 * const learner = new Learner({ parameters: new Map([["w", w]]), optimizer: { name: "SGD", lr: 0.25 } });
 * const { loss } = await learner.step({ loss: sum(mul(w, w)) });
 * [loss, w.item()]; // [25, 2.5]
 */
export class Learner {
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly runtime: Runtime;
  readonly #held = new Map<string, Held>();
  readonly #groups = new Map<string, Group>();
  readonly #aliases: ParameterNames;
  #clip: Clip;
  readonly #name: string;
  /** Scalars of a step, as leaves that are written before each: by group and by the step's number where they differ. */
  readonly #scalars = new Map<string, Tensor>();
  readonly #ledger: LedgerHandle[] = [];
  /** Sums of gradients by parameter, and of how many losses. */
  readonly #sums = new Map<string, Tensor>();
  #summed = 0;
  /** Steps so far. */
  #steps = 0;
  /** Changes when other parameters are trained than before. */
  #version = 0;
  /** Of steps, and of their parts: a first sum of gradients, further ones, and the step that follows them. */
  readonly #reuse = { step: new StepReuse(), first: new StepReuse(), more: new StepReuse(), last: new StepReuse() };

  /** @throws TrainError for options that do not exist, or groups that name no parameter */
  constructor(options: LearnerOptions) {
    checkTrainOptions(options, learnerNames, "Learner");
    const { parameters, aliases, optimizer, groups = [], frozen = [], clip = {}, runtime, name = "learner" } = options;
    this.parameters = parameters;
    this.runtime = runtime ?? defaultRuntime();
    this.#aliases = aliases ?? new Map();
    this.#clip = checkedClip(clip);
    this.#name = name;
    const rest: Group = makeGroup("default", optimizer);
    const named = groups.map((g) => ({
      made: makeGroup(g.name, g.optimizer ?? optimizer),
      names: this.#match(g.params),
    }));
    for (const [param, x] of parameters) {
      const own = named.find(({ names }) => names.has(param))?.made ?? rest;
      this.#groups.set(own.name, own);
      this.#held.set(param, { name: param, leaf: x, group: own, slots: undefined, steps: 0, frozen: false });
      this.#account(x, "parameters", param);
    }
    if (frozen.length > 0) this.freeze(frozen);
  }

  /** Learning rates by group. */
  get learningRates(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#groups].map(([name, { lr }]) => [name, lr]));
  }

  /** The rate that a group was made with. @throws TrainError when there is no such group */
  baseRate(groupName: string): number {
    return this.#group(groupName).optimizer.lr;
  }

  /** @throws TrainError when there is no such group */
  setLearningRate(lr: number, groupName?: string): void {
    const chosen = groupName === undefined ? [...this.#groups.values()] : [this.#group(groupName)];
    for (const each of chosen) each.lr = lr;
  }

  /** How gradients are limited. */
  get clip(): Clip {
    return this.#clip;
  }

  set clip(clip: Clip) {
    this.#clip = checkedClip(clip);
    this.#version++;
  }

  /** Names of the parameters that are trained now. */
  get trained(): readonly string[] {
    return [...this.#held.values()].filter(({ frozen }) => !frozen).map(({ name }) => name);
  }

  /** Names that globs mean. @throws TrainError when a glob means none */
  matching(globs: readonly string[]): ReadonlySet<string> {
    return this.#match(globs);
  }

  /** Stops training what the globs name; the optimiser's state is kept. @throws TrainError when a glob names nothing */
  freeze(globs: readonly string[]): void {
    this.#setFrozen(globs, true);
  }

  /** Trains what the globs name. */
  thaw(globs: readonly string[]): void {
    this.#setFrozen(globs, false);
  }

  #setFrozen(globs: readonly string[], frozen: boolean): void {
    if (this.#summed > 0)
      throw new TrainError("parameters cannot be frozen or thawed while gradients are being summed", {
        code: "train/frozen",
        hint: "call step first",
      });
    for (const name of this.#match(globs)) this.#held.get(name)!.frozen = frozen;
    this.#version++;
  }

  /**
   * One step: computes the loss, its gradients and the optimiser's update in one run.
   * @throws TrainError when the loss, or the norm of the gradients where it is computed, is not finite: nothing has
   *   changed then
   */
  async step<M>(objective: Objective<M>): Promise<StepResult<M>> {
    const active = this.#active();
    const reuse = this.#summed === 0 ? this.#reuse.step : this.#reuse.last;
    const build = (): Built<M> => this.#build(objective, active);
    return this.#done(await this.#run(reuse, objective, build, () => this.#setScalars(active)), active);
  }

  /** One run that changes leaves, by the plan of an earlier one like it where there is one. */
  async #run<M>(
    reuse: StepReuse,
    { loss, metrics, updates: others }: Objective<M>,
    build: () => Built<M>,
    prepare?: () => void,
  ): Promise<StepTree<M>> {
    const known =
      others === undefined && areScalars(metrics)
        ? await reuse.find<StepTree<M>>({ loss, metrics: metrics as M }, this.#version, (inputs) =>
            this.runtime.compileUpdate(inputs, () => {
              const { tree, updates } = build();
              return { result: tree, updates };
            }),
          )
        : undefined;
    if (known !== undefined) {
      prepare?.();
      return known({ accept: finite });
    }
    const { tree, updates } = build();
    prepare?.();
    return this.runtime.update(tree, updates, { accept: finite });
  }

  /**
   * Adds a loss's gradients to those of the next step, which then follows their sum: scale the losses so that they make
   * a mean. The parameters stay as they are.
   */
  async accumulate<M>(objective: Objective<M>): Promise<StepResult<M>> {
    const active = this.#active();
    const { loss, metrics } = objective;
    const build = (): Built<M> => {
      const slopes = slopesOf(loss, active);
      const updates = new Map<Tensor, Tensor>(objective.updates);
      active.forEach(({ name, leaf: x }, i) => {
        const known = this.#sums.get(name);
        const sum = known ?? filled(x, 0, `gradient of ${name}`);
        this.#sums.set(name, sum);
        updates.set(sum, this.#summed === 0 ? slopes[i]! : add(sum, slopes[i]!));
      });
      return { tree: { loss, metrics: metrics as M }, updates };
    };
    const result = await this.#run(this.#summed === 0 ? this.#reuse.first : this.#reuse.more, objective, build);
    if (!finite(result)) throw notFinite(result);
    this.#summed++;
    return { loss: result.loss.item(), gradNorm: undefined, metrics: result.metrics };
  }

  /**
   * A step that is traced and compiled once, for many batches of one kind. It follows freezing and thawing.
   * @param inputs placeholders by name: what changes from batch to batch
   * @param build from the placeholders to the loss
   * @example
   * const w = leaf(Float32Array.of(0), [1]);
   * const x = placeholder([axis("batch")], "float32", "x");
   * const learner = new Learner({ parameters: new Map([["w", w]]), optimizer: { name: "SGD", lr: 0.5 } });
   * const step = await learner.compile({ x }, (batch) => ({ loss: mean(pow(batch.x.sub(w), 2)) }));
   * for (let i = 0; i < 3; i++) await step({ x: leaf(Float32Array.of(1, 3), [2]) });
   * w.item(); // 2
   */
  async compile<Inputs extends string, M>(
    inputs: { readonly [K in Inputs]: Tensor },
    build: (inputs: { readonly [K in Inputs]: Tensor }) => Objective<M>,
  ): Promise<CompiledStep<Inputs, M>> {
    const make = async (): Promise<Made<Inputs, M>> => {
      const active = this.#active();
      const run = await this.runtime.compileUpdate(inputs, (given) => {
        const { tree, updates } = this.#build(build(given), active);
        return { result: tree, updates };
      });
      return { version: this.#version, active, run };
    };
    let made = await make();
    const call = async (given: { readonly [K in Inputs]: Tensor | Buffer }): Promise<StepResult<M>> => {
      if (made.version !== this.#version) {
        await made.run.dispose();
        made = await make();
      }
      const { active, run } = made;
      this.#setScalars(active);
      return this.#done(await run(given, { accept: finite }), active);
    };
    return Object.assign(call, { dispose: () => made.run.dispose() });
  }

  /** What a checkpoint needs. The tensors are the learner's own: write or copy them before the next step. */
  state(): LearnerState {
    const tensors: Record<string, Tensor> = {};
    for (const { name, leaf: x, slots } of this.#held.values()) {
      tensors[`parameter.${name}`] = x;
      for (const [slot, value] of Object.entries(slots ?? {})) tensors[`${slot}.${name}`] = value;
    }
    const held = [...this.#held.values()];
    return {
      tensors,
      steps: Object.fromEntries(held.map(({ name, steps }) => [name, steps])),
      learningRates: this.learningRates,
      frozen: held.filter(({ frozen }) => frozen).map(({ name }) => name),
    };
  }

  /**
   * Goes on where a state was taken.
   * @throws TrainError when it is that of other parameters or another optimiser; nothing has changed then
   */
  restore(state: LearnerState): void {
    const wanted = new Map<string, { to: () => Tensor; dims: readonly number[] }>();
    for (const held of this.#held.values()) {
      wanted.set(`parameter.${held.name}`, { to: () => held.leaf, dims: held.leaf.dims });
      if ((state.steps[held.name] ?? 0) > 0)
        for (const slot of Object.keys(held.group.optimizer.slots))
          wanted.set(`${slot}.${held.name}`, { to: () => this.#slots(held)[slot]!, dims: held.leaf.dims });
    }
    const fail = (where: string, expected: string, received: string): never => {
      throw new TrainError("the state is that of another training", { code: "train/state", where, expected, received });
    };
    for (const [name, { dims }] of wanted) {
      const given = state.tensors[name];
      if (given === undefined || given.dims.join() !== dims.join())
        fail(name, `[${dims.join(", ")}]`, given === undefined ? "nothing" : `[${given.dims.join(", ")}]`);
    }
    const stranger = Object.keys(state.tensors).find((name) => !wanted.has(name));
    if (stranger !== undefined) fail(stranger, "no such tensor", `[${state.tensors[stranger]!.dims.join(", ")}]`);
    const groups = Object.keys(state.learningRates);
    if (groups.join() !== [...this.#groups.keys()].join())
      fail("parameter groups", [...this.#groups.keys()].join(", "), groups.join(", "));
    for (const [name, { to }] of wanted) (to().data as Float32Array).set(state.tensors[name]!.data as Float32Array);
    for (const held of this.#held.values()) {
      held.steps = state.steps[held.name] ?? 0;
      held.frozen = state.frozen.includes(held.name);
      // Nothing is left of updates that the state does not know.
      if (held.steps === 0)
        for (const [slot, x] of Object.entries(held.slots ?? {}))
          x.data.fill(held.group.optimizer.slots[slot] as never);
    }
    for (const [name, lr] of Object.entries(state.learningRates)) this.#group(name).lr = lr;
    this.#summed = 0;
    this.#version++;
  }

  /** Takes its buffers out of the ledger. The parameters keep their values. */
  dispose(): void {
    for (const handle of this.#ledger.splice(0)) handle.release();
    for (const held of this.#held.values()) held.slots = undefined;
    this.#sums.clear();
  }

  #group(name: string): Group {
    const found = this.#groups.get(name);
    if (found !== undefined) return found;
    throw new TrainError("there is no such group of parameters", {
      code: "train/group",
      expected: [...this.#groups.keys()].join(", "),
      received: name,
    });
  }

  #match(globs: readonly string[]): ReadonlySet<string> {
    return matchNames(globs, this.parameters.keys(), this.#aliases);
  }

  #account(x: Tensor, name: string, of: string): void {
    this.#ledger.push(
      memory.add({
        owner: this.#name,
        kind: "Learner",
        name: `${name}.${of}`,
        object: `Tensor (${x.dims.join(", ")})`,
        device: "cpu",
        bytes: x.data.byteLength,
      }),
    );
  }

  #active(): Held[] {
    const active = [...this.#held.values()].filter(({ frozen }) => !frozen);
    if (active.length === 0)
      throw new TrainError("every parameter is frozen", { code: "train/frozen", hint: "thaw some of them" });
    return active;
  }

  #slots(held: Held): Readonly<Record<string, Tensor>> {
    held.slots ??= Object.fromEntries(
      Object.entries(held.group.optimizer.slots).map(([slot, start]) => {
        const made = filled(held.leaf, start, `${slot} of ${held.name}`);
        this.#account(made, slot, held.name);
        return [slot, made];
      }),
    );
    return held.slots;
  }

  #build<M>({ loss, metrics, updates: others }: Objective<M>, active: readonly Held[]): Built<M> {
    const own = slopesOf(loss, active);
    const whole = this.#summed === 0 ? own : own.map((g, i) => add(g, this.#sums.get(active[i]!.name)!));
    const slopeOf = new Map(active.map((held, i) => [held, whole[i]!]));
    const rows = this.#rows(active);
    const summed = rows.map((row) => joined(row.map((held) => slopeOf.get(held)!)));
    const { gradients: slopes, norm } = clipGradients(summed, this.#clip);
    const updates = new Map<Tensor, Tensor>(others);
    rows.forEach((row, i) => {
      const { group } = row[0]!;
      const leaves = row.map((held) => held.leaf);
      const slots = row.map((held) => this.#slots(held));
      const slotOf = (slot: string): Tensor[] => slots.map((each) => each[slot]!);
      const next = group.optimizer.update({
        parameter: joined(leaves),
        gradient: slopes[i]!,
        slots: Object.fromEntries(Object.keys(slots[0]!).map((slot) => [slot, joined(slotOf(slot))])),
        at: this.#at(row[0]!),
      });
      const set = (old: readonly Tensor[], fresh: Tensor): void =>
        parted(fresh, old).forEach((x, j) => updates.set(old[j]!, x));
      set(leaves, next.parameter);
      for (const [slot, fresh] of Object.entries(next.slots)) set(slotOf(slot), fresh);
    });
    return { tree: { loss, ...(norm && { gradNorm: norm }), metrics: metrics as M }, updates };
  }

  /** What is updated together: small parameters that share their scalars, as one long row; large ones alone. */
  #rows(active: readonly Held[]): Held[][] {
    const rows = new Map<string, Held[]>();
    for (const held of active) {
      const key = held.leaf.data.length <= smallParameter ? this.#cohort(held) : `${held.name} alone`;
      rows.set(key, [...(rows.get(key) ?? []), held]);
    }
    return [...rows.values()];
  }

  /** The scalars of a parameter's next step, as leaves. Parameters that began together share them. */
  #at(held: Held): Readonly<Record<string, Tensor>> {
    const scalars = held.group.optimizer.scalars(held.group.lr, held.steps + 1);
    return Object.fromEntries(
      Object.keys(scalars).map((name) => {
        const key = `${this.#cohort(held)} ${name}`;
        let made = this.#scalars.get(key);
        if (made === undefined) this.#scalars.set(key, (made = leaf(new Float32Array(1), [], { name: key })));
        return [name, made];
      }),
    );
  }

  /** Parameters of one group that were first trained at the same step share their scalars. */
  #cohort({ group: { name }, steps }: Held): string {
    return `${name}@${this.#steps - steps}`;
  }

  #setScalars(active: readonly Held[]): void {
    for (const held of active)
      for (const [name, value] of Object.entries(held.group.optimizer.scalars(held.group.lr, held.steps + 1)))
        this.#scalars.get(`${this.#cohort(held)} ${name}`)!.data[0] = value;
  }

  #done<M>(result: StepTree<M>, active: readonly Held[]): StepResult<M> {
    if (!finite(result)) throw notFinite(result);
    for (const held of active) held.steps++;
    this.#steps++;
    this.#summed = 0;
    return { loss: result.loss.item(), gradNorm: result.gradNorm?.item(), metrics: result.metrics };
  }
}
