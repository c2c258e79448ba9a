/** @file The memory ledger: every buffer that outlives a run has an owner. */

export interface LedgerEntry {
  /** Who holds it: a model, an SAE, a compiled graph, a store. */
  readonly owner: string;
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

export interface MemoryRow {
  readonly Name: string;
  readonly Object: string;
  readonly Device: string;
  readonly Size: string;
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
 * ledger.report(); // [{ Name: "mine", Object: "Tensor (2)", Device: "cpu", Size: "8 B" }]
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

  /** The tutorials' memory table, one row per owner and kind of object, largest first. */
  report(options: { by?: "owner" | "entry" } = {}): MemoryRow[] {
    const { by = "owner" } = options;
    if (by === "entry")
      return this.entries().map((e) => ({
        Name: `${e.owner}.${e.name}`,
        Object: e.object,
        Device: e.device,
        Size: formatBytes(e.bytes),
      }));
    const groups = new Map<string, { entry: LedgerEntry; count: number; bytes: number }>();
    for (const entry of this.#entries) {
      const key = `${entry.owner}|${entry.device}`;
      const group = groups.get(key) ?? { entry, count: 0, bytes: 0 };
      groups.set(key, { entry, count: group.count + 1, bytes: group.bytes + entry.bytes });
    }
    return [...groups.values()]
      .sort((a, b) => b.bytes - a.bytes)
      .map(({ entry, count, bytes }) => ({
        Name: entry.owner,
        Object: count === 1 ? entry.object : `${count} buffers`,
        Device: entry.device,
        Size: formatBytes(bytes),
      }));
  }
}

/**
 * The ledger of this process.
 * @example
 * console.table(memory.report()); // one row per owner, largest first
 */
export const memory: Ledger = new Ledger();
