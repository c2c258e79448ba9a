/** @file What ops remember from batch to batch: the fields they declare, and no others. */
import { AnalysisError } from "../errors.ts";

/** Fields of an op's state by name, each with what it starts from. */
export interface StateSpec<State extends object = object> {
  readonly fields: { readonly [K in keyof State]: () => State[K] };
  /** Start anew in each epoch. Default false: at the start of a run only. */
  readonly resetEachEpoch?: boolean;
}

interface Entry {
  readonly spec: StateSpec;
  fields: object;
}

const initial = (spec: StateSpec): object =>
  Object.fromEntries(
    Object.entries(spec.fields as Readonly<Record<string, () => unknown>>).map(([name, start]) => [name, start()]),
  );

/**
 * The states of the ops of one run, by analysis and op. Whoever runs epochs owns it.
 * @example
 * const state = new OpState();
 * state.startEpoch(); // ops that declare `resetEachEpoch` start anew
 */
export class OpState {
  readonly #entries = new Map<string, Entry>();

  /** The fields of an op in an analysis; nothing else can be read or written. @internal */
  of(analysis: string, op: string, spec: StateSpec): object {
    const key = `${analysis}/${op}`;
    let entry = this.#entries.get(key);
    if (entry === undefined) this.#entries.set(key, (entry = { spec, fields: initial(spec) }));
    const known = entry;
    const check = (name: string | symbol): string => {
      if (typeof name === "string" && Object.hasOwn(known.spec.fields, name)) return name;
      throw new AnalysisError(`${op} has no state of this name`, {
        code: "analysis/state",
        expected: Object.keys(known.spec.fields).join(", ") || "an op that declares state",
        received: String(name),
        hint: "declare it in `state.fields`",
      });
    };
    return new Proxy(
      {},
      {
        get: (_target, name): unknown => Reflect.get(known.fields, check(name)),
        set: (_target, name, value) => Reflect.set(known.fields, check(name), value),
      },
    );
  }

  /** A new epoch begins. */
  startEpoch(): void {
    for (const entry of this.#entries.values())
      if (entry.spec.resetEachEpoch === true) entry.fields = initial(entry.spec);
  }

  /** Everything starts anew. */
  clear(): void {
    this.#entries.clear();
  }
}
