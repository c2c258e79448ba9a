/** @file Reading zip archives: stored and deflated members, zip64. */
import { allocate, type ByteSource } from "./byteSource.ts";
import { FormatError, quoted } from "./errors.ts";

/** One member of an archive. */
export interface ZipMember {
  readonly name: string;
  readonly deflated: boolean;
  /** Bytes in the archive, and unpacked. */
  readonly packedBytes: number;
  readonly byteLength: number;
  readonly crc32: number;
  /** Position of its local header. */
  readonly header: number;
}

const MAX_DIRECTORY = 2 ** 26;
const END_BYTES = 22;
/** Deflate cannot expand more than this. */
const MAX_EXPANSION = 1032;

/**
 * The members of a zip archive, from its central directory. Encrypted, split or otherwise packed archives and whatever does
 * not add up are `FormatError`s; sizes are compared with the archive before anything is allocated.
 */
export async function readZipDirectory(source: ByteSource): Promise<ZipMember[]> {
  const { start, length, count } = await findDirectory(source);
  const invalid = (message: string, expected?: string, received?: string) =>
    new FormatError(message, { code: "formats/invalid", where: source.name, expected, received });
  if (length > MAX_DIRECTORY || start + length > source.byteLength || count * 46 > length)
    throw invalid(
      "the archive's directory does not fit",
      `at most ${Math.min(MAX_DIRECTORY, source.byteLength)} bytes`,
      `${length} bytes at ${start} for ${count} members`,
    );
  const view = new DataView(await source.slice(start, start + length));
  const members = new Map<string, ZipMember>();
  for (let at = 0, i = 0; i < count; i++) {
    if (at + 46 > length || view.getUint32(at, true) !== 0x02014b50)
      throw invalid(`member ${i} of the archive's directory is damaged`);
    const nameStart = at + 46;
    const nameLength = view.getUint16(at + 28, true);
    const extraLength = view.getUint16(at + 30, true);
    const next = nameStart + nameLength + extraLength + view.getUint16(at + 32, true);
    if (next > length) throw invalid(`member ${i} of the archive's directory is damaged`);
    const name = decodeName(new Uint8Array(view.buffer, nameStart, nameLength), source);
    const extra = new DataView(view.buffer, nameStart + nameLength, extraLength);
    const member = readMember(name, new DataView(view.buffer, at, 46), extra, source);
    if (members.has(name)) throw invalid("two members of the archive have one name", "unique names", quoted(name));
    members.set(name, member);
    at = next;
  }
  return [...members.values()];
}

/** Find the central directory from the record at the archive's end, or from zip64's. */
async function findDirectory(source: ByteSource): Promise<{ start: number; length: number; count: number }> {
  const from = Math.max(0, source.byteLength - END_BYTES - 0xffff);
  const view = new DataView(await source.slice(from));
  let at = view.byteLength - END_BYTES;
  while (
    at >= 0 &&
    !(view.getUint32(at, true) === 0x06054b50 && at + END_BYTES + view.getUint16(at + 20, true) === view.byteLength)
  )
    at--;
  if (at < 0)
    throw new FormatError("this is not a zip archive, or its end is missing", {
      code: "formats/invalid",
      where: source.name,
      expected: "an end-of-directory record",
      received: `${source.byteLength} bytes without one`,
    });
  const directory = {
    count: view.getUint16(at + 10, true),
    length: view.getUint32(at + 12, true),
    start: view.getUint32(at + 16, true),
  };
  const zip64 = directory.count === 0xffff || directory.length === 0xffffffff || directory.start === 0xffffffff;
  const locator = at - 20;
  if (!zip64 || locator < 0 || view.getUint32(locator, true) !== 0x07064b50) return directory;
  const record = Number(view.getBigUint64(locator + 8, true));
  const end = new DataView(await source.slice(record, record + 56));
  if (end.getUint32(0, true) !== 0x06064b50)
    throw new FormatError("the archive's zip64 record is damaged", { code: "formats/invalid", where: source.name });
  return {
    count: Number(end.getBigUint64(32, true)),
    length: Number(end.getBigUint64(40, true)),
    start: Number(end.getBigUint64(48, true)),
  };
}

function readMember(name: string, entry: DataView, extra: DataView, source: ByteSource): ZipMember {
  const where = memberPlace(source, name);
  const flags = entry.getUint16(8, true);
  const method = entry.getUint16(10, true);
  if (flags & 1 || (method !== 0 && method !== 8))
    throw new FormatError("the member is packed in a way that is not supported", {
      code: "formats/unsupported",
      where,
      expected: "stored or deflated, not encrypted",
      received: flags & 1 ? "encrypted" : `method ${method}`,
    });
  // Fields that do not fit 32 bits stand in the zip64 extra field, in this order.
  const long = zip64Field(extra);
  const size = (at: number) => {
    const value = entry.getUint32(at, true);
    return value === 0xffffffff ? (long.shift() ?? value) : value;
  };
  const byteLength = size(24);
  const packedBytes = size(20);
  const header = size(42);
  const deflated = method === 8;
  const most = deflated ? packedBytes * MAX_EXPANSION : packedBytes;
  if (header + 30 + packedBytes > source.byteLength || byteLength > most || (!deflated && byteLength !== packedBytes))
    throw new FormatError("the member's size does not fit the archive", {
      code: "formats/invalid",
      where,
      expected: `at most ${Math.min(most, source.byteLength)} bytes`,
      received: `${packedBytes} bytes that unpack to ${byteLength}`,
    });
  return { name, deflated, packedBytes, byteLength, crc32: entry.getUint32(16, true), header };
}

function zip64Field(extra: DataView): number[] {
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const [id, length] = [extra.getUint16(at, true), extra.getUint16(at + 2, true)];
    const count = Math.floor(Math.min(length, extra.byteLength - at - 4) / 8);
    if (id === 1) return Array.from({ length: count }, (_, i) => Number(extra.getBigUint64(at + 4 + 8 * i, true)));
    at += 4 + length;
  }
  return [];
}

/** The unpacked bytes of a member, its checksum compared. */
export async function readZipMember(source: ByteSource, member: ZipMember): Promise<ArrayBuffer> {
  const where = memberPlace(source, member.name);
  const start = await zipMemberStart(source, member);
  let buffer: ArrayBuffer;
  if (member.deflated) {
    // Before much more is allocated than the archive is long, the data must be there.
    if (member.byteLength > 2 * source.byteLength) await checkLength(source, member, start);
    buffer = allocate(member.byteLength, where, () => new ArrayBuffer(member.byteLength));
    const { length } = await inflate(source, member, start, new Uint8Array(buffer));
    if (length !== member.byteLength) throw wrongLength(where, member.byteLength, `${length} bytes`);
  } else buffer = await source.slice(start, start + member.packedBytes);
  const sum = crc32(new Uint8Array(buffer));
  if (sum !== member.crc32)
    throw new FormatError("the member's checksum is wrong: the archive is damaged", {
      code: "formats/invalid",
      where,
      expected: `CRC-32 ${member.crc32.toString(16)}`,
      received: sum.toString(16),
    });
  return buffer;
}

/** Unpack without keeping anything, to compare the length. */
async function checkLength(source: ByteSource, member: ZipMember, start: number): Promise<void> {
  let length = 0;
  for await (const part of unpacked(source, member, start)) length += part.byteLength;
  if (length !== member.byteLength)
    throw wrongLength(memberPlace(source, member.name), member.byteLength, `${length} bytes`);
}

/** The first `count` unpacked bytes of a member, or all if it has fewer; no checksum. */
export async function peekZipMember(source: ByteSource, member: ZipMember, count: number): Promise<Uint8Array> {
  const start = await zipMemberStart(source, member);
  const wanted = Math.min(count, member.byteLength);
  if (!member.deflated) return new Uint8Array(await source.slice(start, start + wanted));
  return inflate(source, member, start, new Uint8Array(wanted), true);
}

/** Where a member's bytes begin: after its local header, whose length only it knows. */
export async function zipMemberStart(source: ByteSource, member: ZipMember): Promise<number> {
  const local = new DataView(await source.slice(member.header, member.header + 30));
  const start = member.header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
  if (local.getUint32(0, true) !== 0x04034b50 || start + member.packedBytes > source.byteLength)
    throw new FormatError("the member's local header is damaged", {
      code: "formats/invalid",
      where: memberPlace(source, member.name),
    });
  return start;
}

const PACKED_PIECE = 2 ** 20;

/** Inflate into `target` and return what was filled; more bytes than fit are an error unless `partial`. */
async function inflate(
  source: ByteSource,
  member: ZipMember,
  start: number,
  target: Uint8Array,
  partial = false,
): Promise<Uint8Array> {
  let at = 0;
  for await (const part of unpacked(source, member, start)) {
    const room = target.byteLength - at;
    if (part.byteLength > room && !partial)
      throw wrongLength(memberPlace(source, member.name), member.byteLength, "more");
    target.set(part.subarray(0, room), at);
    at += Math.min(room, part.byteLength);
    if (partial && at === target.byteLength) break;
  }
  return target.subarray(0, at);
}

/** A deflated member's bytes, piece by piece. */
async function* unpacked(source: ByteSource, member: ZipMember, start: number): AsyncGenerator<Uint8Array> {
  const where = memberPlace(source, member.name);
  let position = start;
  const end = start + member.packedBytes;
  const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      if (position === end) return controller.close();
      const next = Math.min(end, position + PACKED_PIECE);
      controller.enqueue(new Uint8Array(await source.slice(position, next)));
      position = next;
    },
  });
  const reader = packed.pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    const received = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError("the member cannot be unpacked", { code: "formats/invalid", where, received, cause });
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function wrongLength(where: string, expected: number, received: string): FormatError {
  return new FormatError("the member unpacks to another length than it says", {
    code: "formats/invalid",
    where,
    expected: `${expected} bytes`,
    received,
  });
}

function memberPlace(source: ByteSource, name: string): string {
  return `${source.name}, member ${quoted(name)}`;
}

function decodeName(bytes: Uint8Array, source: ByteSource): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    const where = source.name;
    throw new FormatError("a member's name is not valid UTF-8", { code: "formats/invalid", where, cause });
  }
}

let crcTables: Uint32Array[] | undefined;

/** Four tables: a byte's effect on the checksum from one to four bytes ahead. */
function makeCrcTables(): Uint32Array[] {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
    return byte;
  });
  const tables = [first];
  for (let i = 1; i < 4; i++) tables.push(tables[i - 1]!.map((value) => first[value & 255]! ^ (value >>> 8)));
  return tables;
}

/** The checksum of zip (CRC-32, IEEE 802.3). */
export function crc32(bytes: Uint8Array): number {
  const [t0, t1, t2, t3] = (crcTables ??= makeCrcTables()) as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  let crc = -1;
  let i = 0;
  for (; i + 4 <= bytes.length; i += 4) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc = t3[crc & 255]! ^ t2[(crc >>> 8) & 255]! ^ t1[(crc >>> 16) & 255]! ^ t0[crc >>> 24]!;
  }
  for (; i < bytes.length; i++) crc = t0[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
