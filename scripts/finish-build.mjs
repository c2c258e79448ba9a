/** What `tsc` leaves out of a build: the registry's entries, the program's execute bit. */
import { chmodSync, cpSync } from "node:fs";

const root = new URL("../", import.meta.url);
const out = process.argv[2] ?? "dist";
cpSync(new URL("src/session/entries", root), new URL(`${out}/session/entries`, root), { recursive: true });
chmodSync(new URL(`${out}/cli/main.js`, root), 0o755);
