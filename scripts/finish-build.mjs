/** What `tsc` leaves out of a build: the generated ONNX messages, the registry's entries, the program's execute bit. */
import { chmodSync, copyFileSync, cpSync } from "node:fs";

const root = new URL("../", import.meta.url);
const out = process.argv[2] ?? "dist";
for (const name of ["onnx_pb.js", "onnx_pb.d.ts"])
  copyFileSync(new URL(`src/runtime/${name}`, root), new URL(`${out}/runtime/${name}`, root));
cpSync(new URL("src/session/entries", root), new URL(`${out}/session/entries`, root), { recursive: true });
chmodSync(new URL(`${out}/cli/main.js`, root), 0o755);
