/** @file The bytes of a file as they come, over as many connections as it takes. */
import { FormatError } from "../errors.ts";
import { backOff, chunks, pause, request, unreachable, type Subject } from "./http.ts";
import type { HubSettings } from "./settings.ts";

/** Tries in a row that bring nothing. */
const patienceTries = 5;

/**
 * Hands the bytes [start, end) of a file to `take`, in order. A connection that breaks, or is silent, is made anew for
 * the bytes that are missing.
 *
 * @throws FormatError `hub/no-ranges` where a part is wanted and the server only sends the whole
 */
export async function readRange(
  settings: HubSettings,
  url: string,
  subject: Subject,
  { start, end, size }: { start: number; end: number; size: number },
  take: (chunk: Uint8Array) => Promise<void> | void,
): Promise<void> {
  let at = start;
  for (let tries = 0; at < end;) {
    const before = at;
    try {
      for await (const chunk of await open()) {
        if (chunk.length > end - at) throw wrong(`${end - start} bytes`, "more");
        at += chunk.length;
        await take(chunk);
      }
      if (at < end) throw new Error(`the connection ended ${end - at} bytes early`);
    } catch (error) {
      settings.signal?.throwIfAborted();
      if (error instanceof FormatError) throw error;
      tries = at > before ? 1 : tries + 1;
      if (tries > patienceTries) throw unreachable(settings, subject, error);
      await pause(backOff(settings, tries), settings.signal);
    }
  }

  function open(): Promise<AsyncIterable<Uint8Array>> {
    const part = at > 0 || end < size;
    const range: Record<string, string> = part ? { range: `bytes=${at}-${end - 1}` } : {};
    return request(
      settings,
      url,
      subject,
      (connection) => {
        const { status, headers } = connection.response;
        const hangUp = <E>(error: E): E => (connection.abort(error), error);
        if (part && status === 200)
          throw hangUp(
            new FormatError("the server does not send parts of files", {
              code: "hub/no-ranges",
              where: new URL(url).host,
            }),
          );
        const sent = part ? headers.get("content-range") : plainLength(headers);
        const expected = part ? [`bytes ${at}-${end - 1}/${size}`, `bytes ${at}-${end - 1}/*`] : [String(size), null];
        if (!expected.includes(sent)) throw hangUp(wrong(expected[0]!, String(sent)));
        return chunks(connection, settings);
      },
      { headers: { ...range, "accept-encoding": "identity" } },
    );
  }

  function wrong(expected: string, received: string): FormatError {
    return new FormatError("the server sends other bytes than the hub announced", {
      code: "hub/invalid-answer",
      where: subject.path,
      expected,
      received,
    });
  }
}

/** The length of a body that is not compressed on its way. */
function plainLength(headers: Headers): string | null {
  return (headers.get("content-encoding") ?? "identity") === "identity" ? headers.get("content-length") : null;
}
