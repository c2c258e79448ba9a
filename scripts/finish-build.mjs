/** What `tsc` leaves out of a build: the generated ONNX messages, and the program's execute bit. */
import { chmodSync, copyFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
const out = process.argv[2] ?? "dist";
for (const name of ["onnx_pb.js", "onnx_pb.d.ts"])
  copyFileSync(new URL(`src/runtime/${name}`, root), new URL(`${out}/runtime/${name}`, root));
chmodSync(new URL(`${out}/cli/main.js`, root), 0o755);
