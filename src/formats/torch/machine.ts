/** @file A pickle machine that makes plain values and refuses everything else: nothing a file names is ever run. */
import { FormatError, quoted } from "../errors.ts";

/**
 * What a pickle holds: Python's None, bool, int, float, str, bytes; list and tuple as arrays, dict as `Map`, set as `Set`, and
 * what permitted globals stand for.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | Set<PickleValue>
  | PickleOpaque;

/** Something that is no plain value: a permitted global, or what one makes. */
export interface PickleOpaque {
  readonly kind: string;
}

/** A permitted global. Without `call` it is a value that cannot be called. */
export interface PickleGlobal extends PickleOpaque {
  readonly kind: "global";
  /** `collections.OrderedDict` */
  readonly name: string;
  readonly call?: (args: readonly PickleValue[]) => PickleValue;
}

/** What the machine may meet beyond plain values. */
export interface PickleWorld {
  readonly where: string;
  /** The permitted global of this name, if it is one. */
  readonly global: (name: string) => PickleGlobal | undefined;
  /** What stands behind a persistent id. */
  readonly persistent: (id: PickleValue) => PickleValue;
}

/** Whether a value is of a kind. */
export function isPickleKind<V extends PickleOpaque>(value: PickleValue | undefined, kind: V["kind"]): value is V {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === kind;
}

const MAX_OPERATIONS = 2_000_000;
const MAX_HELD = 1_000_000;
const MAX_LINE = 256;

interface Machine {
  readonly world: PickleWorld;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  at: number;
  stack: PickleValue[];
  /** Heights of the stack where marks lie. */
  readonly marks: number[];
  readonly memo: Map<number, PickleValue>;
}

/**
 * Run a pickle of protocol 2 to 5 and return its value. Opcodes that make objects of arbitrary classes are not known, and a
 * global outside `world.global` is refused by name. Everything that is malformed is a `FormatError`.
 */
export function runPickle(bytes: Uint8Array, world: PickleWorld): PickleValue {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const machine: Machine = { world, bytes, view, at: 0, stack: [], marks: [], memo: new Map() };
  for (let count = 0; count < MAX_OPERATIONS; count++) {
    const start = machine.at;
    const code = uint8(machine);
    if (code === STOP) return pop(machine);
    const operation = operations[code];
    if (operation === undefined)
      throw fault(machine, "the pickle has an instruction that is not read", {
        code: "formats/unsupported",
        received: `instruction 0x${code.toString(16).padStart(2, "0")} at byte ${start}`,
      });
    operation(machine);
    if (machine.stack.length > MAX_HELD || machine.memo.size > MAX_HELD || machine.marks.length > MAX_HELD) break;
  }
  throw fault(machine, "the pickle is too long", {
    code: "formats/too-large",
    expected: `${MAX_OPERATIONS} instructions and ${MAX_HELD} values at most`,
  });
}

function fault(
  { world }: Machine,
  message: string,
  facts: { code?: string; expected?: string; received?: string; hint?: string } = {},
): FormatError {
  return new FormatError(message, { code: "formats/invalid", where: world.where, ...facts });
}

function take(machine: Machine, count: number): Uint8Array {
  const { at, bytes } = machine;
  if (count > bytes.length - at)
    throw fault(machine, "the pickle ends early", {
      code: "formats/truncated",
      expected: `${count} bytes at ${at}`,
      received: `${bytes.length - at}`,
    });
  machine.at = at + count;
  return bytes.subarray(at, at + count);
}

function pop(machine: Machine): PickleValue {
  const { stack, marks } = machine;
  if (stack.length <= (marks.at(-1) ?? 0)) throw fault(machine, "the pickle takes a value that is not there");
  return stack.pop()!;
}

/** Everything above the last mark, and the mark with it. */
function popMarked(machine: Machine): PickleValue[] {
  const height = machine.marks.pop();
  if (height === undefined) throw fault(machine, "the pickle closes a group that was not opened");
  return machine.stack.splice(height);
}

function top(machine: Machine): PickleValue {
  const value = pop(machine);
  machine.stack.push(value);
  return value;
}

function text(machine: Machine, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw fault(machine, "a text in the pickle is not valid UTF-8");
  }
}

function line(machine: Machine): string {
  const end = machine.bytes.subarray(machine.at, machine.at + MAX_LINE).indexOf(10);
  if (end < 0) throw fault(machine, "a name in the pickle has no end");
  const found = text(machine, take(machine, end));
  machine.at++;
  return found;
}

const uint8 = (m: Machine): number => m.bytes[m.at++] ?? take(m, 1)[0]!;
const number = (m: Machine, bytes: number, read: (view: DataView, at: number) => number): number => {
  const { at } = m;
  take(m, bytes);
  return read(m.view, at);
};
const uint16 = (m: Machine): number => number(m, 2, (v, at) => v.getUint16(at, true));
const uint32 = (m: Machine): number => number(m, 4, (v, at) => v.getUint32(at, true));
const uint64 = (m: Machine): number => number(m, 8, (v, at) => Number(v.getBigUint64(at, true)));

/** A little-endian integer in two's complement. */
function long(bytes: Uint8Array): number | bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  if (bytes.length > 0 && bytes.at(-1)! >= 0x80) value -= 1n << BigInt(8 * bytes.length);
  const near = Number(value);
  return Number.isSafeInteger(near) ? near : value;
}

function global(machine: Machine, module: PickleValue, name: PickleValue): PickleValue {
  if (typeof module !== "string" || typeof name !== "string")
    throw fault(machine, "a global in the pickle has no name");
  const full = `${module}.${name}`;
  const found = machine.world.global(full);
  if (found !== undefined) return found;
  throw fault(machine, "the pickle names a Python object, which is neither loaded nor run", {
    code: "formats/unsupported",
    expected: "tensors in dicts, lists and tuples, with numbers and texts",
    received: quoted(full),
    hint: "save its tensors alone in Python: torch.save(model.state_dict(), file), or as safetensors",
  });
}

function call(machine: Machine): PickleValue {
  const args = pop(machine);
  const made = pop(machine);
  if (!isPickleKind<PickleGlobal>(made, "global") || made.call === undefined || !Array.isArray(args))
    throw fault(machine, "the pickle calls something that cannot be called", {
      code: "formats/unsupported",
      received: isPickleKind<PickleGlobal>(made, "global") ? quoted(made.name) : "a value",
    });
  return made.call(args);
}

function remembered(machine: Machine, index: number): PickleValue {
  const value = machine.memo.get(index);
  if (value === undefined) throw fault(machine, "the pickle refers to a value it has not made");
  return value;
}

function append(machine: Machine, items: readonly PickleValue[]): void {
  const list = top(machine);
  if (!Array.isArray(list)) throw fault(machine, "the pickle appends to what is no list");
  for (const item of items) list.push(item);
}

function setItems(machine: Machine, items: readonly PickleValue[]): void {
  const dict = top(machine);
  if (!(dict instanceof Map) || items.length % 2 === 1)
    throw fault(machine, "the pickle sets entries of what is no dict");
  for (let i = 0; i < items.length; i += 2) dict.set(items[i]!, items[i + 1]!);
}

function addItems(machine: Machine, items: readonly PickleValue[]): void {
  const set = top(machine);
  if (!(set instanceof Set)) throw fault(machine, "the pickle adds to what is no set");
  for (const item of items) set.add(item);
}

type Operation = (machine: Machine) => void;
const push =
  (make: (machine: Machine) => PickleValue): Operation =>
  (m) =>
    void m.stack.push(make(m));
const popped = (m: Machine, count: number): PickleValue[] => Array.from({ length: count }, () => pop(m)).reverse();

const STOP = 0x2e;

/** The instructions of `pickletools` that plain values and calls of globals need. */
const operations: { readonly [code: number]: Operation } = {
  // PROTO and FRAME
  0x80: (m) => {
    const protocol = uint8(m);
    if (protocol < 2 || protocol > 5)
      throw fault(m, "the pickle is of another protocol", { expected: "2 to 5", received: String(protocol) });
  },
  0x95: (m) => void take(m, 8),
  // NONE, NEWTRUE, NEWFALSE
  0x4e: push(() => null),
  0x88: push(() => true),
  0x89: push(() => false),
  // BININT, BININT1, BININT2, LONG1, BINFLOAT
  0x4a: push((m) => number(m, 4, (v, at) => v.getInt32(at, true))),
  0x4b: push(uint8),
  0x4d: push(uint16),
  0x8a: push((m) => long(take(m, uint8(m)))),
  0x47: push((m) => number(m, 8, (v, at) => v.getFloat64(at, false))),
  // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
  0x58: push((m) => text(m, take(m, uint32(m)))),
  0x8c: push((m) => text(m, take(m, uint8(m)))),
  0x8d: push((m) => text(m, take(m, uint64(m)))),
  // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
  0x42: push((m) => take(m, uint32(m)).slice()),
  0x43: push((m) => take(m, uint8(m)).slice()),
  0x8e: push((m) => take(m, uint64(m)).slice()),
  0x96: push((m) => take(m, uint64(m)).slice()),
  // MARK, POP, POP_MARK, DUP
  0x28: (m) => void m.marks.push(m.stack.length),
  0x30: (m) => (m.stack.length > (m.marks.at(-1) ?? 0) ? void pop(m) : void popMarked(m)),
  0x31: (m) => void popMarked(m),
  0x32: push(top),
  // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
  0x29: push(() => []),
  0x85: push((m) => popped(m, 1)),
  0x86: push((m) => popped(m, 2)),
  0x87: push((m) => popped(m, 3)),
  0x74: push(popMarked),
  // EMPTY_LIST, LIST, APPEND, APPENDS
  0x5d: push(() => []),
  0x6c: push(popMarked),
  0x61: (m) => append(m, [pop(m)]),
  0x65: (m) => append(m, popMarked(m)),
  // EMPTY_DICT, SETITEM, SETITEMS
  0x7d: push(() => new Map<PickleValue, PickleValue>()),
  0x73: (m) => setItems(m, popped(m, 2)),
  0x75: (m) => setItems(m, popMarked(m)),
  // EMPTY_SET, ADDITEMS, FROZENSET
  0x8f: push(() => new Set<PickleValue>()),
  0x90: (m) => addItems(m, popMarked(m)),
  0x91: push((m) => new Set(popMarked(m))),
  // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
  0x71: (m) => void m.memo.set(uint8(m), top(m)),
  0x72: (m) => void m.memo.set(uint32(m), top(m)),
  0x94: (m) => void m.memo.set(m.memo.size, top(m)),
  0x68: push((m) => remembered(m, uint8(m))),
  0x6a: push((m) => remembered(m, uint32(m))),
  // GLOBAL, STACK_GLOBAL, REDUCE, BINPERSID
  0x63: push((m) => {
    const module = line(m);
    return global(m, module, line(m));
  }),
  0x93: push((m) => {
    const name = pop(m);
    return global(m, pop(m), name);
  }),
  0x52: push(call),
  0x51: push((m) => m.world.persistent(pop(m))),
  // BUILD: attributes of a dict (`_metadata` of a state dict) say nothing about tensors
  0x62: (m) => {
    pop(m);
    if (!(top(m) instanceof Map))
      throw fault(m, "the pickle sets attributes of an object", { code: "formats/unsupported" });
  },
};
