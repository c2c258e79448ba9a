/** @file `interpretune run --run-command train`: a session's training with its progress and its result. */
import { Table } from "../../display/index.ts";
import { runTraining, saveTrained, type Session } from "../../session/index.ts";
import { outFolder } from "../../train/outFolder.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import type { Output } from "../output.ts";
import { Progress } from "../progress.ts";

/** The flags of training. */
export interface TrainingFlags {
  readonly limitBatches?: number;
  readonly resume?: string;
  readonly out?: string;
}

const shown = (value: number): string => String(Number(value.toPrecision(4)));

/** Trains; with `--out` the model, or what adapters it has, is saved there. Ctrl-C finishes the step and leaves a checkpoint. */
export async function train(
  session: Session,
  { limitBatches, resume, out }: TrainingFlags,
  { process, signal }: CliContext,
  output: Output,
): Promise<void> {
  if (resume === "")
    throw new CliError("--resume continues a training from a checkpoint", {
      code: "cli/flag",
      expected: "--resume FILE, a checkpoint of checkpoints/ in an experiment folder",
    });
  // Before the training, not after it.
  if (out !== undefined) await outFolder(out);
  using progress = new Progress({ label: "train", unit: "step", stream: process.stderr, signal });
  const result = await runTraining(session, {
    limit: limitBatches,
    resume,
    signal,
    onProgress({ epoch, globalStep, metrics: { train_loss, val_loss } }) {
      const losses = [
        ["loss", train_loss],
        ["val_loss", val_loss],
      ] as const;
      const note = losses.flatMap(([name, x]) => (x === undefined ? [] : [`${name} ${shown(x)}`]));
      progress.update(globalStep, { note: [`epoch ${epoch}`, ...note].join(" ") });
    },
  });
  progress.finish();
  const saved = out === undefined ? undefined : await saveTrained(out, session);
  const columns = [
    { key: "metric", label: "Metric" },
    { key: "value", label: "Value" },
  ];
  const rows = Object.entries(result.metrics).map(([name, value]) => [name, Number(value.toFixed(6))]);
  const facts = [
    ["ended by", result.reason],
    ["epochs", result.epochs],
    ["steps", result.globalStep],
  ];
  await output.say(String(new Table(columns, [...facts, ...rows])));
  if (saved !== undefined) await output.say(`${saved.kind} in ${saved.folder}`);
  else if (result.adapters !== undefined) await output.say(`adapters in ${result.adapters.last}`);
  await output.document({ phase: "train", experiment_folder: session.experimentFolder, ...result });
  // What was begun is kept; the command still ends as one that was interrupted.
  signal?.throwIfAborted();
}
