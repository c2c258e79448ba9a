/**
 * @file `@huggingface/jinja` with Python's rules where chat templates show the difference: how values print, repeated
 * strings, filters that turn their operand into a string first, the clock.
 */
import * as jinja from "@huggingface/jinja";

interface Value {
  readonly type: string;
  readonly value: unknown;
}
interface Node {
  readonly type: string;
  readonly value?: unknown;
  readonly [key: string]: unknown;
}
interface Environment {
  set(name: string, value: unknown): Value;
}
interface Interpreter {
  run(program: Node): Value;
  evaluate(node: Node | undefined, environment: Environment): Value;
  evaluateBinaryExpression(node: Node, environment: Environment): Value;
  evaluateBlock(nodes: Node[], environment: Environment): Value;
  applyFilter(operand: Value, filter: Node, environment: Environment): Value;
}
type Class<Instance> = new (...args: unknown[]) => Instance;
interface Package {
  Environment: Class<Environment>;
  Interpreter: Class<Interpreter>;
  parse(tokens: unknown): Node;
  tokenize(source: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }): unknown;
}
const loaded: unknown = jinja;
const library = loaded as Package;

const isValue = (v: unknown): v is Value => typeof v === "object" && v !== null && "type" in v && "value" in v;

function reprString(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(/[\\\n\r\t]|[\0-\x1f\x7f]/g, (c) => {
    const short = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" }[c];
    return short ?? `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return quote + body.replaceAll(quote, `\\${quote}`) + quote;
}

/** Python's `repr` of a template value. */
function repr(value: unknown): string {
  if (!isValue(value)) return "None";
  const { type, value: inner } = value;
  if (typeof inner === "string") return reprString(inner);
  if (inner instanceof Map) return `{${[...inner].map(([k, v]) => `${reprString(String(k))}: ${repr(v)}`).join(", ")}}`;
  if (!Array.isArray(inner)) return str(value);
  const items = inner.map(repr);
  if (type === "TupleValue") return `(${items.join(", ")}${items.length === 1 ? "," : ""})`;
  return `[${items.join(", ")}]`;
}

/** Python's `str` of a template value. */
function str(value: Value): string {
  const { type, value: inner } = value;
  if (type === "UndefinedValue") return "";
  if (type === "NullValue") return "None";
  if (typeof inner === "boolean") return inner ? "True" : "False";
  if (typeof inner === "string") return inner;
  if (type === "FloatValue" && Number.isInteger(inner)) return `${String(inner)}.0`;
  return Array.isArray(inner) || inner instanceof Map ? repr(value) : String(inner);
}

const TEXT_FILTERS: { readonly [name: string]: ((text: string) => string) | null } = {
  trim: (text) => text.replace(/^[\p{White_Space}\x1c-\x1f]+|[\p{White_Space}\x1c-\x1f]+$/gu, ""),
  upper: (text) => text.toUpperCase(),
  lower: (text) => text.toLowerCase(),
  capitalize: (text) => text.slice(0, 1).toUpperCase() + text.slice(1).toLowerCase(),
  title: (text) => text.replace(/[^-\s({[<]+/g, (word) => word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase()),
  string: (text) => text,
  replace: null,
  indent: null,
};

const STATEMENTS = new Set(["Set", "Macro", "Comment"]);

class PythonInterpreter extends library.Interpreter {
  /** A node that is already a value stands for itself, so that operands are evaluated once. */
  override evaluate(node: Node | undefined, environment: Environment): Value {
    return node?.type === "Known" && isValue(node.value) ? node.value : super.evaluate(node, environment);
  }

  override evaluateBlock(nodes: Node[], environment: Environment): Value {
    const text = nodes.map((node) => {
      const value = this.evaluate(node, environment);
      return STATEMENTS.has(node.type) ? "" : str(value);
    });
    return this.#text(text.join(""), environment);
  }

  override evaluateBinaryExpression(node: Node, environment: Environment): Value {
    const { operator } = node;
    const symbol = isValue(operator) ? operator.value : undefined;
    if (symbol !== "*" && symbol !== "~") return super.evaluateBinaryExpression(node, environment);
    const left = this.evaluate(node["left"] as Node, environment);
    const right = this.evaluate(node["right"] as Node, environment);
    if (symbol === "~") return this.#text(str(left) + str(right), environment);
    const [text, times] = typeof left.value === "string" ? [left.value, right] : [right.value, left];
    if (typeof text === "string" && times.type === "IntegerValue")
      return this.#text(text.repeat(Math.max(0, Number(times.value))), environment);
    const known = (value: Value): Node => ({ type: "Known", value });
    return super.evaluateBinaryExpression({ ...node, left: known(left), right: known(right) }, environment);
  }

  override applyFilter(operand: Value, filter: Node, environment: Environment): Value {
    const name = filter.type === "CallExpression" ? (filter["callee"] as Node).value : filter.value;
    const own = typeof name === "string" && Object.hasOwn(TEXT_FILTERS, name) ? TEXT_FILTERS[name] : undefined;
    if (own === undefined) return super.applyFilter(operand, filter, environment);
    if (own !== null && filter.type === "Identifier") return this.#text(own(str(operand)), environment);
    return super.applyFilter(this.#text(str(operand), environment), filter, environment);
  }

  #text(value: string, environment: Environment): Value {
    return super.evaluate({ type: "StringLiteral", value }, environment);
  }
}

const MAX_RANGE = 100_000;

function range(from: number, to?: number, step = 1): number[] {
  const [start, stop] = to === undefined ? [0, from] : [from, to];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE)) throw new Error(`range() of ${length} is longer than ${MAX_RANGE}`);
  return Array.from({ length }, (_, i) => start + i * step);
}

const MONTHS = "January February March April May June July August September October November December".split(" ");
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** Python's `strftime` in the C locale, for the fields that templates use. */
function strftime(now: Date, format: string): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const fields: { readonly [code: string]: string } = {
    Y: String(now.getFullYear()),
    y: two(now.getFullYear() % 100),
    m: two(now.getMonth() + 1),
    d: two(now.getDate()),
    B: MONTHS[now.getMonth()]!,
    b: MONTHS[now.getMonth()]!.slice(0, 3),
    A: DAYS[now.getDay()]!,
    a: DAYS[now.getDay()]!.slice(0, 3),
    H: two(now.getHours()),
    I: two(now.getHours() % 12 || 12),
    M: two(now.getMinutes()),
    S: two(now.getSeconds()),
    p: now.getHours() < 12 ? "AM" : "PM",
    "%": "%",
  };
  return format.replace(/%([A-Za-z%])/g, (whole, code: string) => fields[code] ?? whole);
}

/** Renders a template with trimmed blocks, as transformers sets Jinja up. */
export function renderJinja(source: string, items: { readonly [name: string]: unknown }, now: Date): string {
  const environment = new library.Environment();
  const globals = {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    range,
    strftime_now: (format: string) => strftime(now, format),
    raise_exception: (message: string) => {
      throw new Error(message);
    },
  };
  for (const [name, value] of Object.entries({ ...globals, ...items })) environment.set(name, value);
  const program = library.parse(library.tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  return str(new PythonInterpreter(environment).run(program));
}
