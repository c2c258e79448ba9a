/** @file Remote files as byte sources, by HTTP range requests. */
import { byteSource, type ByteSource } from "./byteSource.ts";
import { FormatError } from "./errors.ts";

export interface UrlSourceOptions {
  /** Sent with every request, for example an `authorization`. */
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Stands in for the global `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/**
 * A file behind a URL as a byte source: one request to learn its size, then one range request per read. The server has to
 * answer 206 with exactly the asked range and must not change the file in between (size and ETag are compared); anything
 * else is a `FormatError`. An abort rejects with the signal's reason.
 *
 * @example
 * ```ts
 * const source = await urlSource("https://huggingface.co/openai-community/gpt2/resolve/main/model.safetensors");
 * const file = await openSafetensors(source); // reads the header only
 * ```
 */
export async function urlSource(url: string | URL, options: UrlSourceOptions = {}): Promise<ByteSource> {
  const { headers = {}, signal, fetch = globalThis.fetch } = options;
  const address = String(url);
  const name = publicName(address);
  const fail = (message: string, expected: string, received: string, cause?: unknown) =>
    new FormatError(message, { code: "formats/io", where: name, expected, received, cause });

  const request = async (first: number, last: number) => {
    const range = `bytes=${first}-${last}`;
    try {
      return await fetch(address, { headers: { ...headers, range, "accept-encoding": "identity" }, signal });
    } catch (cause) {
      signal?.throwIfAborted();
      throw fail("the request failed", "an answer", cause instanceof Error ? cause.message : String(cause), cause);
    }
  };

  const probe = await request(0, 0);
  const version = probe.headers.get("etag");
  const size = totalSize(probe);
  await probe.body?.cancel();
  if (probe.status !== 206 && !(probe.status === 416 && size === 0)) throw refused(probe);
  if (size === undefined)
    throw fail(
      "the server does not tell the size of the file",
      "content-range: bytes 0-0/SIZE",
      probe.headers.get("content-range") ?? "no content-range header",
    );
  return byteSource({ byteLength: size, name, fill });

  async function fill(target: Uint8Array, position: number) {
    const last = position + target.byteLength - 1;
    const response = await request(position, last);
    const expected = `content-range: bytes ${position}-${last}/${size}`;
    const received = `content-range: ${response.headers.get("content-range")}`;
    const encoding = response.headers.get("content-encoding") ?? "identity";
    const problem =
      response.status !== 206
        ? refused(response)
        : received !== expected
          ? fail("the server sent another range than asked", expected, received)
          : response.headers.get("etag") !== version
            ? fail("the file changed on the server", `etag ${version}`, `etag ${response.headers.get("etag")}`)
            : encoding !== "identity"
              ? fail("the server compressed a range", "no content-encoding", encoding)
              : undefined;
    if (problem) {
      await response.body?.cancel();
      throw problem;
    }
    await readBody(response, target);
  }

  async function readBody(response: Response, target: Uint8Array) {
    let at = 0;
    try {
      const reader = response.body!.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        if (at + part.value.byteLength > target.byteLength) {
          at += part.value.byteLength;
          await reader.cancel();
          break;
        }
        target.set(part.value, at);
        at += part.value.byteLength;
      }
    } catch (cause) {
      signal?.throwIfAborted();
      throw fail("the connection broke", `${target.byteLength} bytes`, `${at} bytes`, cause);
    }
    if (at !== target.byteLength)
      throw fail("the body has the wrong length", `${target.byteLength} bytes`, `${at} bytes or more`);
  }

  function refused(response: Response): FormatError {
    return new FormatError("the server does not serve ranges of this file", {
      code: response.status === 404 ? "formats/not-found" : "formats/io",
      where: name,
      expected: "status 206",
      received: `status ${response.status} ${response.statusText}`.trimEnd(),
      hint: response.status === 200 ? "download the file and open it from disk" : undefined,
    });
  }
}

/** The size after the slash of `content-range: bytes 0-0/123`. */
function totalSize(response: Response): number | undefined {
  const total = /^bytes (?:\d+-\d+|\*)\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
  return total !== undefined && Number.isSafeInteger(Number(total)) ? Number(total) : undefined;
}

/** Signed URLs carry secrets in their query and user part: errors must not print them. */
function publicName(address: string): string {
  try {
    const { origin, pathname } = new URL(address);
    return origin + pathname;
  } catch {
    return address.split("?")[0]!;
  }
}
