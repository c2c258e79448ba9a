/** @file What a cache has to be able to do, wherever its bytes lie. Paths are relative to it, with `/`. */
import type { ByteSource } from "../byteSource.ts";

/** A blob on its way into the cache. */
export interface PartialBlob {
  /** Bytes that are there. */
  readonly size: number;
  /** The chunk is the store's from now on. */
  append(chunk: Uint8Array): Promise<void>;
  /** Forget all bytes. */
  clear(): Promise<void>;
  /** The hash that the bytes really have; undefined where the hash asked for is of no known kind. */
  check(): Promise<string | undefined>;
  /** Make it the blob. */
  commit(): Promise<void>;
  /** Keep the bytes for another time. Does nothing after `commit`. */
  close(): Promise<void>;
}

/**
 * Keeps blobs by the hash of their content, and small texts by path. {@link nodeStore} lays them out as Python's client
 * does, {@link browserStore} keeps them in a browser.
 */
export interface HubStore {
  /** What messages call it. */
  readonly name: string;
  /** Where an entry, or a folder of them, lies: a path on this machine, an address in a browser. */
  location(path: string): string;
  /** A small text; undefined where there is none. */
  readText(path: string): Promise<string | undefined>;
  /** Whole or not at all. */
  writeText(path: string, text: string): Promise<void>;
  /** Paths of the files below a folder, relative to it. */
  list(folder: string): Promise<string[]>;
  /**
   * Where an entry of a snapshot lies, how large it is, and the hash of the blob that it leads to (empty where that
   * cannot be told); undefined where it is not there or leads nowhere.
   */
  find(path: string): Promise<{ location: string; size: number; hash: string } | undefined>;
  /** The bytes of an entry that was found. */
  open(path: string): Promise<ByteSource>;
  /** The size of a whole blob. */
  blobSize(folder: string, hash: string): Promise<number | undefined>;
  /** How much of a blob has come. */
  partialSize(folder: string, hash: string): Promise<number>;
  /** Take up a blob, of that size when it is whole, where it was left. The caller has its lock. */
  partial(folder: string, hash: string, size: number): Promise<PartialBlob>;
  /** Make the path an entry for a whole blob; returns its location. */
  point(folder: string, path: string, hash: string): Promise<string>;
  /** Waits for other writers of this blob, in this process and in others; returns how to let go. */
  lock(folder: string, hash: string, signal: AbortSignal | undefined): Promise<() => Promise<void>>;
  freeBytes(): Promise<number | undefined>;
}
