/** @file TensorBoard's event files: records with checksums around `tensorflow.Event` messages. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { appendFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { makeFolderAtOnce } from "../../formats/disk/atOnce.ts";
import { writing, type MetricLogger } from "./logger.ts";

/** CRC-32C (Castagnoli), by the reversed polynomial. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

/** The CRC-32C of bytes. @internal */
export function crc32c(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 255]!;
  return ~crc >>> 0;
}

/** As record files store it: rotated and shifted, so that a checksum of checksums stays a good one. */
function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** A record: length, its checksum, the bytes, their checksum. */
function record(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(16 + bytes.length);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(bytes.length), true);
  view.setUint32(8, maskedCrc(out.subarray(0, 8)), true);
  out.set(bytes, 12);
  view.setUint32(12 + bytes.length, maskedCrc(bytes), true);
  return out;
}

/** What happened at a moment. */
export interface TensorBoardEvent {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step?: number;
  readonly fileVersion?: string;
  readonly scalars?: Readonly<Record<string, number>>;
  /** A resumed run begins: what other files say of later steps is void. */
  readonly sessionStart?: boolean;
}

/** An event as it stands in a file: `tensorflow.Event`, framed. @internal */
export function tensorBoardRecord({
  wallTime,
  step,
  fileVersion,
  scalars,
  sessionStart,
}: TensorBoardEvent): Uint8Array {
  const event = new BinaryWriter().tag(1, WireType.Bit64).double(wallTime);
  if (step !== undefined && step !== 0) event.tag(2, WireType.Varint).int64(step);
  if (fileVersion !== undefined) event.tag(3, WireType.LengthDelimited).string(fileVersion);
  if (scalars !== undefined) {
    event.tag(5, WireType.LengthDelimited).fork();
    for (const [name, value] of Object.entries(scalars)) {
      event.tag(1, WireType.LengthDelimited).fork();
      event.tag(1, WireType.LengthDelimited).string(name);
      event.tag(2, WireType.Bit32).float(value).join();
    }
    event.join();
  }
  if (sessionStart === true) event.tag(7, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int32(1).join();
  return record(event.finish());
}

/**
 * Scalars for TensorBoard, in a new event file of a folder. Epochs are logged as a scalar, as Lightning does.
 * @example
 * const logger = tensorBoardLogger("runs/tensorboard");
 * logger.start?.({ after: undefined });
 * logger.log({ train_loss: 0.7 }, { step: 3, epoch: 0 });
 */
export function tensorBoardLogger(folder: string, now: () => number = () => Date.now() / 1000): MetricLogger {
  let file = folder;
  const write = (event: TensorBoardEvent): void => writing(file, () => appendFileSync(file, tensorBoardRecord(event)));
  return {
    start({ after }) {
      const name = `events.out.tfevents.${Math.floor(now())}.${hostname()}.${process.pid}`;
      writing(folder, () => makeFolderAtOnce(folder));
      file = join(folder, after === undefined ? name : `${name}.${after}`);
      write({ wallTime: now(), fileVersion: "brain.Event:2" });
      if (after !== undefined) write({ wallTime: now(), step: after + 1, sessionStart: true });
      // Files of earlier runs stay: the session's start voids their later steps.
    },
    log: (metrics, { step, epoch }) => write({ wallTime: now(), step, scalars: { ...metrics, epoch } }),
  };
}
