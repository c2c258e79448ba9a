/** @file The memory ledger: every buffer that outlives a run has an owner. */
import type { Plan } from "./backend.ts";
import { forecastPlan, type Forecast } from "./forecast.ts";

export interface LedgerEntry {
  /** Who holds it: a model, an SAE, a compiled graph, a store. */
  readonly owner: string;
  /** What the owner is, where its buffers are one row of the memory table: `HookedModel`, `Sae`. */
  readonly kind?: string;
  /** What it is called inside its owner. */
  readonly name: string;
  /** What it is: `Tensor (768, 3072)`, `graph`, `packed weights`. */
  readonly object: string;
  readonly device: string;
  readonly bytes: number;
}

/** Registered bytes; `release()` takes the entry out, twice is harmless. */
export interface LedgerHandle {
  release(): void;
}

/** A row of the memory table, for programs. */
export interface MemoryItem {
  readonly name: string;
  readonly object: string;
  readonly device: string;
  readonly bytes: number;
}

/** A row of the memory table, for people. */
export interface MemoryRow {
  readonly Name: string;
  readonly Object: string;
  readonly Device: string;
  readonly "Size (GB)": string;
}

const units = ["B", "kB", "MB", "GB", "TB"] as const;

/**
 * Bytes for people: 1 kB is 1000 B.
 * @example
 * formatBytes(1500); // "1.50 kB"
 */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 ? value : value.toFixed(2)} ${units[unit]!}`;
}

/**
 * The ledger of one process.
 * @example
 * const ledger = new Ledger();
 * const held = ledger.add({ owner: "mine", name: "x", object: "Tensor (2)", device: "cpu", bytes: 8 });
 * ledger.report(); // [{ Name: "x", Object: "Tensor (2)", Device: "cpu", "Size (GB)": "0.00" }]
 * held.release();
 * ledger.bytes; // 0
 */
export class Ledger {
  readonly #entries = new Set<LedgerEntry>();
  #bytes = 0;

  /** Bytes registered now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Registers a buffer. */
  add(entry: LedgerEntry): LedgerHandle {
    const held = { ...entry };
    this.#entries.add(held);
    this.#bytes += held.bytes;
    return {
      release: () => {
        if (this.#entries.delete(held)) this.#bytes -= held.bytes;
      },
    };
  }

  /** All entries, largest first. */
  entries(): LedgerEntry[] {
    return [...this.#entries].sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
  }

  /**
   * What is held, largest first: one row for each model, SAE and other owner of several buffers, one for each tensor
   * besides.
   */
  rows(): MemoryItem[] {
    const items = new Map<string, MemoryItem>();
    for (const { owner, kind, name, object, device, bytes } of this.#entries) {
      const key = kind === undefined ? String(items.size) : `${kind} ${owner} ${device}`;
      const known = items.get(key);
      if (known !== undefined) items.set(key, { ...known, bytes: known.bytes + bytes });
      else items.set(key, { name: kind === undefined ? name : owner, object: kind ?? object, device, bytes });
    }
    return [...items.values()].sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
  }

  /**
   * The tutorials' memory table.
   * @param options the `top` largest only; those on one `device` only
   */
  report(options: { top?: number; device?: string } = {}): MemoryRow[] {
    const { top = Infinity, device } = options;
    return this.rows()
      .filter((row) => device === undefined || row.device === device)
      .slice(0, top)
      .map((row) => ({
        Name: row.name,
        Object: row.object,
        Device: row.device,
        "Size (GB)": (row.bytes / 1e9).toFixed(2),
      }));
  }

  /** What running a plan will need; see {@link Runtime.forecast} for plans of a tree. */
  forecast(plan: Plan): Forecast {
    return forecastPlan(plan);
  }
}

const collected = new FinalizationRegistry((handle: LedgerHandle) => handle.release());

/** Takes an entry out of the ledger when an object is collected. */
export const releaseWith = (object: object, handle: LedgerHandle): void => collected.register(object, handle);

/**
 * The ledger of this process.
 * @example
 * console.table(memory.report()); // Name, Object, Device, Size (GB), largest first
 */
export const memory: Ledger = new Ledger();
