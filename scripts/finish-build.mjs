/** What `tsc` leaves out of a build: the registry's entries, the program's execute bit. */
import { chmodSync, copyFileSync, cpSync } from "node:fs";

const root = new URL("../", import.meta.url);
const out = process.argv[2] ?? "dist";
cpSync(new URL("src/session/entries", root), new URL(`${out}/session/entries`, root), { recursive: true });
// A build elsewhere (the benches') finds the version where the package has it: one folder up.
if (out !== "dist") copyFileSync(new URL("package.json", root), new URL(`${out}/../package.json`, root));
chmodSync(new URL(`${out}/cli/main.js`, root), 0o755);
