/**
 * @file One object for one expression. Every tensor knows, weakly, the expressions of which it is the newest input: what
 * is known of them goes when the tensor goes, and nothing is kept for expressions that nobody holds.
 */
import { dimKey, sameDim, type Atom, type Axis } from "./axis.ts";
import type { Attributes, AttributeValue, Operation } from "./operation.ts";
import type { Tensor } from "./tensor.ts";

const isAxis = (value: AttributeValue): value is Axis => typeof value === "object" && "terms" in value;

/** Attributes as text, axes renamed by the caller. */
export function attributesKey(attributes: Attributes, rename: (atom: Atom) => number): string {
  let key = "";
  for (const name in attributes) {
    const value = attributes[name];
    if (value === undefined) continue;
    key += `,${name}=`;
    if (typeof value !== "object") key += typeof value === "number" && Object.is(value, -0) ? "-0" : String(value);
    else if (isAxis(value)) key += dimKey(value, rename);
    else for (const dim of value) key += `${dimKey(dim, rename)};`;
  }
  return key;
}

const identity = (atom: Atom): number => atom.id;

function sameValue(a: AttributeValue, b: AttributeValue): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object") return false;
  if (isAxis(a) || isAxis(b)) return isAxis(a) && isAxis(b) && a.key === b.key;
  return a.length === b.length && a.every((dim, i) => sameDim(dim, b[i]!));
}

/** One operation gives all its nodes the same attributes, some of them undefined. */
function sameAttributes(a: Attributes, b: Attributes): boolean {
  if (a === b) return true;
  for (const name in a) if (!sameValue(a[name], b[name])) return false;
  for (const name in b) if (b[name] !== undefined && a[name] === undefined) return false;
  return true;
}

/** Expressions looked through one by one before they are filed under keys. */
const few = 16;

/** Expressions with one newest input. */
export class Expressions {
  /** Until there are more than a few. */
  #list: WeakRef<Tensor>[] = [];
  #byKey: Map<string, WeakRef<Tensor>> | undefined;
  #sweepAt = 4 * few;

  find(op: Operation, inputs: readonly Tensor[], attributes: Attributes): Tensor | undefined {
    if (this.#byKey !== undefined) return this.#byKey.get(keyOf(op, inputs, attributes))?.deref();
    const list = this.#list;
    for (let i = 0; i < list.length;) {
      const known = list[i]!.deref();
      if (known === undefined) {
        list[i] = list[list.length - 1]!;
        list.pop();
      } else if (
        known.op === op &&
        inputs.every((x, at) => x === known.inputs[at]) &&
        sameAttributes(attributes, known.attributes)
      )
        return known;
      else i++;
    }
    return undefined;
  }

  add(made: Tensor): void {
    if (this.#byKey === undefined && this.#list.length < few) {
      this.#list.push(new WeakRef(made));
      return;
    }
    this.#byKey ??= new Map(
      this.#list.splice(0).flatMap((weak) => {
        const known = weak.deref();
        return known === undefined ? [] : [[keyOf(known.op, known.inputs, known.attributes), weak] as const];
      }),
    );
    this.#byKey.set(keyOf(made.op, made.inputs, made.attributes), new WeakRef(made));
    if (this.#byKey.size <= this.#sweepAt) return;
    for (const [key, weak] of this.#byKey) if (weak.deref() === undefined) this.#byKey.delete(key);
    this.#sweepAt = Math.max(4 * few, 2 * this.#byKey.size);
  }

  /** How many there are. */
  get size(): number {
    return [...this.#list, ...(this.#byKey?.values() ?? [])].filter((weak) => weak.deref() !== undefined).length;
  }
}

function keyOf(op: Operation, inputs: readonly Tensor[], attributes: Attributes): string {
  let key = op.name;
  for (const input of inputs) key += `|${input.id}`;
  return key + attributesKey(attributes, identity);
}
