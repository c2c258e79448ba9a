/** @file Progress of a fit for people: a line that is drawn anew, or a line for each epoch. */
import type { StepMoment, TrainerCallback, TrainerView } from "../trainer/protocol.ts";

/** The part of `process.stderr` that progress needs. */
interface Stream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

const shown = (value: number): string => String(Number(value.toPrecision(4)));

/** Such as `epoch 1: 12/30 train_loss 0.53`. */
function lineOf({ epoch, batch, batches, metrics }: TrainerView): string {
  const values = Object.entries(metrics).filter(([name]) => !name.endsWith("_epoch") && name !== "finetuning_phase");
  const total = batches === undefined ? "" : `/${batches}`;
  return [`epoch ${epoch}: ${batch}${total}`, ...values.map(([name, value]) => `${name} ${shown(value)}`)].join(" ");
}

/**
 * Shows how far a fit is: in a terminal one line that is drawn anew every `refreshRate` steps, elsewhere a line for each
 * epoch.
 * @example
 * const trainer = new Trainer({ maxEpochs: 3, callbacks: [progressBar()] });
 */
export function progressBar({
  stream = process.stderr,
  refreshRate = 1,
}: { readonly stream?: Stream; readonly refreshRate?: number } = {}): TrainerCallback {
  const terminal = stream.isTTY === true;
  return {
    name: "ProgressBar",
    onStep(view, { epochEnded }: StepMoment) {
      if (terminal && (epochEnded || view.globalStep % refreshRate === 0)) stream.write(`\r\x1b[K${lineOf(view)}`);
      if (epochEnded) stream.write(terminal ? "\n" : `${lineOf(view)}\n`);
    },
    onFitEnd(_, reason) {
      stream.write(`ended by ${reason}\n`);
    },
  };
}
