/** What `tsc` leaves out: the generated ONNX messages, and the program's execute bit. */
import { chmodSync, copyFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
for (const name of ["onnx_pb.js", "onnx_pb.d.ts"])
  copyFileSync(new URL(`src/runtime/${name}`, root), new URL(`dist/runtime/${name}`, root));
chmodSync(new URL("dist/cli/main.js", root), 0o755);
