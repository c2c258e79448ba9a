/** @file The examples of docstrings and README, type-checked where a reader would paste them. */
import { join, relative } from "node:path";
import ts from "typescript";
import { hasImports, repository, type Example } from "./docExamples.ts";

/** A module and the names that an example may use of it without importing them. */
export type NamesOf = readonly [file: string, names: readonly string[]];

export interface ExampleSurroundings {
  /** Files by the package path they are imported under. */
  readonly packages: ReadonlyMap<string, string>;
  /** A file with an interface `ExampleScope`: the first place names come from, and their types. */
  readonly scope: NamesOf;
  /** Where further names of an example come from; the first that has one wins. */
  readonly modules: (example: Example) => readonly NamesOf[];
}

/** Examples and the sources they are about, as the compiler sees them. */
export interface ExampleProgram {
  readonly program: ts.Program;
  readonly files: ReadonlyMap<Example, string>;
}

/** Reads the examples and all they use. */
export function compileExamples(examples: readonly Example[], surroundings: ExampleSurroundings): ExampleProgram {
  const paths = Object.fromEntries([...surroundings.packages].map(([name, file]) => [name, [join(repository, file)]]));
  const options: ts.CompilerOptions = {
    ...readOptions(),
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
    paths,
    noUnusedLocals: false,
    noUncheckedIndexedAccess: false,
  };
  const files = new Map(examples.map((example, i) => [example, join(repository, `test/example${i}.ts`)]));
  const texts = new Map(examples.map((example) => [files.get(example)!, asModule(example, surroundings)]));
  const host = ts.createCompilerHost(options);
  const program = ts.createProgram([...texts.keys(), ...Object.values(paths).flat()], options, {
    ...host,
    fileExists: (path) => texts.has(path) || host.fileExists(path),
    getSourceFile: (path, language, ...rest) => {
      const text = texts.get(path);
      return text === undefined
        ? host.getSourceFile(path, language, ...rest)
        : ts.createSourceFile(path, text, language);
    },
  });
  return { program, files };
}

/** What the compiler has to say about examples, as `file:line: message`. */
export function typeErrors({ program, files }: ExampleProgram): string[] {
  return [...files].flatMap(([{ file, line }, path]) => {
    const source = program.getSourceFile(path)!;
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    return found.map(({ start, messageText }) => {
      const within = source.getLineAndCharacterOfPosition(start ?? 0).line - 1;
      return `${file}:${line + within}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
    });
  });
}

/**
 * What lacks among the functions and classes that a module exports: `file: name has no docstring`, or `no example`. What
 * is `@internal` needs neither; of functions of one line (constants), an example of their kind is enough.
 */
export function undocumented({ program }: ExampleProgram, module: string): string[] {
  const checker = program.getTypeChecker();
  const entry = checker.getSymbolAtLocation(program.getSourceFile(join(repository, module))!)!;
  return checker.getExportsOfModule(entry).flatMap((exported) => {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    const declaration = symbol.valueDeclaration;
    const isCallable = declaration && checker.getTypeOfSymbol(symbol).getCallSignatures().length > 0;
    if (declaration === undefined || !(isCallable || ts.isClassDeclaration(declaration))) return [];
    const tags = symbol.getJsDocTags(checker).map(({ name }) => name);
    const lacks = [
      ...(symbol.getDocumentationComment(checker).length === 0 ? ["docstring"] : []),
      ...(ts.isFunctionDeclaration(declaration) && !tags.includes("example") ? ["example"] : []),
    ];
    const file = relative(repository, declaration.getSourceFile().fileName);
    return tags.includes("internal") ? [] : lacks.map((what) => `${file}: ${exported.name} has no ${what}`);
  });
}

function readOptions(): ts.CompilerOptions {
  const path = join(repository, "tsconfig.json");
  const { config } = ts.readConfigFile(path, (file) => ts.sys.readFile(file)) as { config: unknown };
  return ts.convertCompilerOptionsFromJson((config as { compilerOptions: unknown }).compilerOptions, repository)
    .options;
}

/** An example as a module: on the first line what it uses without importing it, its code from the second line on. */
function asModule(example: Example, { scope, modules }: ExampleSurroundings): string {
  if (hasImports(example.code)) return `\n${example.code}\nexport {};`;
  const used = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) used.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile("example.ts", example.code, ts.ScriptTarget.ESNext));
  const take = ([file, names]: NamesOf, say: (name: string, path: string) => string): string[] =>
    names.filter((name) => used.delete(name)).map((name) => say(name, relativeToTest(file)));
  const declared = take(scope, (name, path) => `declare const ${name}: import("${path}").ExampleScope["${name}"];`);
  const imported = modules(example).flatMap((from) => take(from, (name, path) => `import { ${name} } from "${path}";`));
  return `${[...declared, ...imported].join(" ")}\n{${example.code}\n}\nexport {};`;
}

const relativeToTest = (file: string): string => (file.startsWith("test/") ? `.${file.slice(4)}` : `../${file}`);
