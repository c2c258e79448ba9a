/** @file Showing results where the program runs. */
import { isDisplayable } from "./displayable.ts";

interface Notebook {
  readonly display: (value: unknown) => Promise<void>;
}

/** Deno's notebook kernel, where this is one. Outside of it Deno throws when asked. */
function notebook(): Notebook | undefined {
  try {
    return (globalThis as { Deno?: { jupyter?: Notebook } }).Deno?.jupyter;
  } catch {
    return undefined;
  }
}

/**
 * Shows results one after the other: printed in a terminal, drawn in a notebook. Anything else is printed as
 * `console.log` does. In a notebook, await it: what is drawn later lands in the next cell.
 *
 * @example
 * await show(new Table([{ key: "op", label: "Op" }], [["logit_diffs_base"]]), "one operation");
 */
export async function show(...things: readonly unknown[]): Promise<void> {
  const kernel = notebook();
  for (const thing of things) {
    if (!isDisplayable(thing)) console.log(thing);
    else if (kernel) await kernel.display(thing);
    else console.log(`${String(thing)}\n`);
  }
}
