/** @file The folder for what a training writes. */
import { makeFolder } from "../formats/disk/folder.ts";
import { systemCause, systemMessage } from "../formats/disk/systemError.ts";
import { TrainError } from "./errors.ts";

/** Makes a folder where it is missing. @throws TrainError where none can be */
export async function outFolder(path: string): Promise<void> {
  await makeFolder(path).catch((cause: unknown) => {
    throw new TrainError("there is no folder to write to", {
      code: "train/out",
      where: path,
      received: systemMessage(cause),
      hint: "give another path: a folder, or one that can be made",
      cause: systemCause(cause),
    });
  });
}
