/** @file The tutorials' memory table. */
import { memory, memoryStatusText } from "../runtime/index.ts";
import { fixed } from "./numbers.ts";
import { Table } from "./table.ts";

/**
 * What is held, largest first, under how much of the machine's memory is taken. Sizes in GB (1e9 bytes).
 * @param options the `top` largest only (default 10); those on one `device` only
 * @example
 * console.log(String(memoryTable({ top: 3 })));
 */
export function memoryTable(options: { top?: number; device?: string } = {}): Table {
  const { top = 10, device } = options;
  const rows = memory
    .rows()
    .filter((row) => device === undefined || row.device === device)
    .slice(0, top)
    .map((row) => [row.name, row.object, row.device, row.bytes / 1e9]);
  const columns = [
    { key: "name", label: "Name" },
    { key: "object", label: "Object" },
    { key: "device", label: "Device" },
    { key: "size_gb", label: "Size (GB)", format: (cell: unknown): string => fixed(Number(cell), 2) },
  ];
  return new Table(columns, rows, memoryStatusText());
}
