/** @file Garbage collection on demand, for tests of what is let go. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

/** Collects garbage and lets finalisers run, until `done` holds or a second has passed. */
export async function collect(done: () => boolean = () => false, rounds = 50): Promise<void> {
  for (let i = 0; i < rounds && !done(); i++) {
    // What `done` looked at through weak references stays alive until its job ends.
    await new Promise((resolve) => setTimeout(resolve, 20));
    gc();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}
