/** @file How Node prints objects of our classes (`console.log`, the REPL). */

/** Makes Node print instances as a text. (A computed method name would have no declaration of its own.) */
export function inspectAs<T>(type: { readonly prototype: T }, text: (value: T) => string): void {
  Object.defineProperty(type.prototype, Symbol.for("nodejs.util.inspect.custom"), {
    value(this: T): string {
      return text(this);
    },
  });
}
