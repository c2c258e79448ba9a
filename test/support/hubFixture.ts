/** @file A hub and an empty cache for one test, and what lies in a cache. */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { HubOptions } from "../../src/formats/index.ts";
import { hubServer, type HubServer } from "./hubServer.ts";

export interface HubFixture {
  readonly hub: HubServer;
  readonly cacheDir: string;
  /** For the functions of the hub: this hub, this cache, short waits, no token of this machine. */
  readonly options: HubOptions & { readonly cacheDir: string; readonly endpoint: string };
}

export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "interpretune-hub-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export async function hubFixture(options: { pageSize?: number } = {}): Promise<HubFixture> {
  const hub = await hubServer(options);
  onTestFinished(() => hub.close());
  const cacheDir = newFolder();
  return {
    hub,
    cacheDir,
    options: { cacheDir, endpoint: hub.endpoint, token: "", offline: false, retryDelay: 2, timeout: 5000 },
  };
}

/** Bytes that look like nothing, the same for the same seed. */
export function noise(length: number, seed = 1): Buffer {
  const block = createHash("sha512").update(String(seed)).digest();
  const bytes = Buffer.alloc(length, block);
  for (let at = 0; at < length; at += 997) bytes[at] = (at / 997) & 255;
  return bytes;
}

/** Every file and link below a folder, as `path -> target` or `path: bytes, hash of the content`. */
export function laidOut(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const name = path.slice(folder.length + 1).replaceAll("\\", "/");
      if (entry.isSymbolicLink()) return `${name} -> ${readlinkSync(path)}`;
      const bytes = readFileSync(path);
      return `${name}: ${bytes.length}, ${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}`;
    })
    .sort();
}
