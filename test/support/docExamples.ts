/** @file The examples of docstrings, README and guide: found, and run with what they state in comments checked. */
import { Console } from "node:console";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { compileFunction } from "node:vm";
import ts from "typescript";
import { shapeText, Tensor, type Dim } from "../../src/graph/index.ts";

export const repository: string = fileURLToPath(new URL("../../", import.meta.url));

/** A piece of documentation that is a program, and where it begins. */
export interface Example {
  readonly file: string;
  /** Line of the file that `code` begins on, from 1. */
  readonly line: number;
  readonly code: string;
}

/** Every example of the sources, of README.md and of the guide. */
export function allExamples(): Example[] {
  const sources = readdirSync(join(repository, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !file.endsWith(".d.ts"))
    .map((file) => join("src", file).replaceAll("\\", "/"))
    .sort();
  const read = (file: string): string => readFileSync(join(repository, file), "utf8");
  return [
    ...["README.md", "docs/coming-from-python.md"].flatMap((file) => fencedExamples(file, read(file))),
    ...sources.flatMap((file) => docstringExamples(file, read(file))),
  ];
}

/** The TypeScript blocks of a Markdown text. */
export function fencedExamples(file: string, text: string): Example[] {
  return [...text.matchAll(/^```ts\n([^]*?)^```$/gm)].map((found) => ({
    file,
    line: lineAt(text, found.index) + 1,
    code: found[1]!,
  }));
}

/** What follows `@example` in docstrings, with or without a fence, up to the next tag. */
export function docstringExamples(file: string, text: string): Example[] {
  return [...text.matchAll(/\/\*\*[^]*?\*\//g)].flatMap((comment) => {
    const first = lineAt(text, comment.index);
    const inside = comment[0].slice(3, -2).trimEnd();
    const lines = inside.split("\n").map((line) => line.replace(/^\s*\* ?/, ""));
    const starts = [...lines.keys()].filter((i) => lines[i]!.startsWith("@example"));
    return starts.map((start) => {
      const next = lines.findIndex((line, i) => i > start && /^@\w/.test(line));
      const body = lines.slice(start + 1, next < 0 ? undefined : next);
      const code = body.map((line) => (line.startsWith("```") ? "" : line)).join("\n");
      return { file, line: first + start + 1, code };
    });
  });
}

const lineAt = (text: string, index: number): number => text.slice(0, index).split("\n").length;

/** Names that an example may use without importing them. */
export type Names = Readonly<Record<string, unknown>>;
/** What an import in an example gives, by package path. */
export type Packages = Readonly<Record<string, Names>>;

/** What a comment behind a statement says about its value or about what it prints. */
interface Claim {
  readonly line: number;
  readonly comment: string;
  reached: boolean;
}

const literal = /^(-?\d|["'[{]|(true|false|null|undefined|NaN)\b|\w+Array [[(])/;
const prints = "console.log";

/**
 * Runs an example.
 * @throws what the example throws, and an error for each stated result that is another, cannot be checked or is never
 *   reached
 */
export async function runExample({ file, line, code }: Example, names: Names, packages: Packages): Promise<void> {
  const { text, claims } = withClaims(code, line);
  let printed = "";
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      printed += chunk.toString();
      done();
    },
  });
  const console = new Console({ stdout: stream, colorMode: false });
  const print = (k: number, ...values: unknown[]): void => {
    printed = "";
    console.log(...values);
    holds(claims[k]!, tidy(printed));
  };
  const claim = (k: number, value: unknown): unknown => {
    const shape = shapeOf(value, claims[k]!.comment);
    if (shape !== undefined) fits(claims[k]!, shape);
    else holds(claims[k]!, tidy(inspect(value, { depth: 8, breakLength: Infinity })));
    return value;
  };
  const required = (name: string): Names => {
    const found = packages[name];
    if (found === undefined) throw new Error(`there is no package ${name}`);
    return found;
  };
  const isProgram = hasImports(code);
  const scope: Names = {
    ...(isProgram ? {} : names),
    console,
    require: required,
    exports: {},
    __claim: claim,
    __print: print,
  };
  const { outputText } = ts.transpileModule(`${isProgram ? text : `{\n${text}\n}`}\nexport {};\n`, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2023 },
  });
  const run = compileFunction(`return (async () => {${outputText}\n})()`, Object.keys(scope), { filename: file });
  await Reflect.apply(run, undefined, Object.values(scope));
  const missed = claims.find(({ reached }) => !reached);
  if (missed !== undefined) throw new Error(`line ${missed.line} states “${missed.comment}” but never runs`);
}

/** An example with imports is a program of its own and gets no names. */
export function hasImports(code: string): boolean {
  return /^import\b/m.test(code);
}

/** The code with a check put at each statement that a comment states the result of. */
function withClaims(code: string, line: number): { text: string; claims: Claim[] } {
  const claims: Claim[] = [];
  const edits: { at: number; end?: number; text: string }[] = [];
  const source = ts.createSourceFile("example.ts", code, ts.ScriptTarget.ESNext, true);
  const visit = (node: ts.Node): void => {
    const comment = ts.isStatement(node) && !ts.isBlock(node) ? commentBehind(code, node.end) : undefined;
    if (comment !== undefined) {
      const printed = printCall(node);
      if (printed !== undefined) {
        edits.push({ at: printed.expression.getStart(), end: printed.expression.end, text: "__print" });
        edits.push({ at: printed.expression.end + 1, text: `${claims.length}, ` });
      } else if (!literal.test(comment)) return ts.forEachChild(node, visit);
      else if (ts.isExpressionStatement(node)) {
        edits.push({ at: node.expression.getStart(), text: `__claim(${claims.length}, ` });
        edits.push({ at: node.expression.end, text: ")" });
      } else {
        const name = declaredName(node);
        if (name === undefined) throw new Error(`line ${lineIn(node)}: “${comment}” stands behind no value`);
        edits.push({ at: node.end, text: ` __claim(${claims.length}, ${name});` });
      }
      claims.push({ line: lineIn(node), comment, reached: false });
    }
    ts.forEachChild(node, visit);
  };
  const lineIn = (node: ts.Node): number => line + source.getLineAndCharacterOfPosition(node.getStart()).line;
  visit(source);
  const text = edits
    .sort((a, b) => b.at - a.at)
    .reduce((done, { at, end = at, text }) => done.slice(0, at) + text + done.slice(end), code);
  return { text, claims };
}

/** The comment at the end of a statement's line or, where there is none, on the lines below it. */
function commentBehind(code: string, end: number): string | undefined {
  const rest = code.slice(end);
  const found = /^[ \t]*\/\/(.*)/.exec(rest) ?? /^[ \t]*\n((?:[ \t]*\/\/.*(?:\n|$))+)/.exec(rest);
  return found?.[1]!.replaceAll(/^\s*\/\//gm, "").trim();
}

function printCall(node: ts.Node): ts.CallExpression | undefined {
  const call = ts.isExpressionStatement(node) ? node.expression : undefined;
  return call !== undefined && ts.isCallExpression(call) && call.expression.getText() === prints ? call : undefined;
}

/** The one name that a declaration declares. */
function declaredName(node: ts.Node): string | undefined {
  if (!ts.isVariableStatement(node) || node.declarationList.declarations.length !== 1) return undefined;
  const { name } = node.declarationList.declarations[0]!;
  if (ts.isIdentifier(name)) return name.text;
  const [only, ...others] = name.elements;
  return only !== undefined && others.length === 0 && ts.isBindingElement(only) && ts.isIdentifier(only.name)
    ? only.name.text
    : undefined;
}

/** Checks what was printed or a value as Node shows it; an explanation may follow a colon. */
function holds(claim: Claim, shown: string): void {
  claim.reached = true;
  const stated = tidy(claim.comment);
  if (stated !== shown && !stated.startsWith(`${shown}: `))
    throw new Error(`line ${claim.line} states “${stated}” but it is “${shown}”`);
}

/** What a comment about shapes speaks of: a tensor's shape, or a list of sizes where the comment names them. */
function shapeOf(value: unknown, comment: string): readonly Dim[] | undefined {
  if (value instanceof Tensor) return value.storage?.data === undefined ? value.shape : value.dims;
  return Array.isArray(value) && /^\[[a-z]/.test(comment) ? (value as Dim[]) : undefined;
}

/** Checks a shape: `[2, pos]` fits any shape of two dimensions the first of which is 2. */
function fits(claim: Claim, shape: readonly Dim[]): void {
  claim.reached = true;
  const dims = /^\[([^\]]*)\]/.exec(claim.comment)?.[1]?.split(", ") ?? [];
  if (dims.length !== shape.length || dims.some((dim, i) => /^\d+$/.test(dim) && dim !== String(shape[i])))
    throw new Error(`line ${claim.line} states “${claim.comment}” but the shape is ${shapeText(shape)}`);
}

/** Text as it is written in comments: `["a"]`, `Int32Array [1]` for Node's `[ 'a' ]`, `Int32Array(1) [ 1 ]`. */
function tidy(text: string): string {
  return text
    .replaceAll(/(\w+)\(\d+\) (?=[[{])/g, "$1 ")
    .replaceAll(/\s+/g, " ")
    .replaceAll(/(?<=[[{]) | (?=[\]}])/g, "")
    .replaceAll("'", '"')
    .trim();
}
