/** @file File patterns as Python's hub client reads them. */

/**
 * A test for paths that match at least one pattern; all do where there are none. `*` and `?` match `/`, too; `[abc]`
 * and `[!abc]` are sets, and a pattern that ends in `/` stands for the whole folder (Python's `fnmatchcase`).
 */
export function pathFilter(patterns: readonly string[] | undefined): (path: string) => boolean {
  if (patterns === undefined) return () => true;
  const tests = patterns.map((pattern) => compile(pattern.endsWith("/") ? `${pattern}*` : pattern));
  return (path) => tests.some((test) => test.test(path));
}

function compile(pattern: string): RegExp {
  const source = pattern.replaceAll(/\[(!?)(\]?[^\]]*)\]|[*?]|[^*?]/gsu, (part, not?: string, set?: string) => {
    if (part === "*") return ".*";
    if (part === "?") return ".";
    if (set === undefined) return part.replace(/[\\^$.|+(){}[\]/]/, "\\$&");
    return `[${not ? "^" : ""}${set.replaceAll(/[\\\]^[&]/g, "\\$&")}]`;
  });
  return new RegExp(`^${source.replaceAll(/(?:\.\*){2,}/g, ".*")}$`, "su");
}
