/** @file The folder for what a training writes. */
import { TrainError } from "./errors.ts";

/** Makes a folder where it is missing. @throws TrainError where none can be */
export async function outFolder(path: string): Promise<void> {
  const { mkdir } = await import("node:fs/promises");
  await mkdir(path, { recursive: true }).catch((cause: unknown) => {
    throw new TrainError("there is no folder to write to", {
      code: "train/out",
      where: path,
      received: cause instanceof Error ? cause.message.replace(/, \w+( '.*)?$/, "") : String(cause),
      hint: "give another path: a folder, or one that can be made",
      cause,
    });
  });
}
