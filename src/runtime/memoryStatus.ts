/** @file How much memory there is, and how much of it is taken. */
import { totalmem } from "node:os";

/** Bytes. */
export interface MemoryStatus {
  /** The process: everything it holds, ONNX Runtime's buffers too. */
  readonly allocated: number;
  /** The machine, or what a container allows. */
  readonly total: number;
  readonly free: number;
}

/**
 * Memory of the process against that of the machine.
 * @example
 * const { allocated, total, free } = memoryStatus();
 */
export function memoryStatus(): MemoryStatus {
  const limit = process.constrainedMemory();
  const total = limit > 0 && limit < totalmem() ? limit : totalmem();
  const allocated = process.memoryUsage.rss();
  return { allocated, total, free: total - allocated };
}

/**
 * The tutorials' status lines, GB with two decimals.
 * @example
 * console.log(memoryStatusText({ allocated: 1.53e9, total: 16e9, free: 14.47e9 }));
 * // Allocated = 1.53 GB
 * // Total = 16.00 GB
 * // Free = 14.47 GB
 */
export function memoryStatusText(status: MemoryStatus = memoryStatus()): string {
  const lines = { Allocated: status.allocated, Total: status.total, Free: status.free };
  return Object.entries(lines)
    .map(([name, bytes]) => `${name} = ${(bytes / 1e9).toFixed(2)} GB`)
    .join("\n");
}
