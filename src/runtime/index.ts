/** @file Where expressions are computed: runtimes, backends, the memory ledger. */
export type { Backend, Buffer, Executable, Plan } from "./backend.ts";
export { RuntimeError } from "./errors.ts";
export type { Forecast } from "./forecast.ts";
export {
  formatBytes,
  memory,
  type Ledger,
  type LedgerEntry,
  type LedgerHandle,
  type MemoryItem,
  type MemoryRow,
} from "./ledger.ts";
export { memoryStatus, memoryStatusText, type MemoryStatus } from "./memoryStatus.ts";
export { ortNode, type OrtOptions } from "./ortNode.ts";
export { type Updates } from "./updates.ts";
export { evaluatePlan, reference, toFloat64 } from "./reference.ts";
export {
  defaultRuntime,
  provenanceOf,
  realize,
  Runtime,
  type CompiledFunction,
  type CompiledUpdate,
  type Provenance,
  type RealizeOptions,
  type RuntimeOptions,
  type UpdateOptions,
  type WeightPolicy,
} from "./runtime.ts";
