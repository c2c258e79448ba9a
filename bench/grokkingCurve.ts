/** @file The curve of a grokking run, from its CSV: the loss falls early, the held-out pairs come late. */
import { Figure } from "../src/display/index.ts";

/** An SVG of `step,train_loss,test_accuracy`. */
export function grokkingCurve(csv: string): Promise<string> {
  const rows = csv.trim().split("\n").slice(1);
  const [steps, losses, accuracies] = [0, 1, 2].map((c) => rows.map((row) => Number(row.split(",")[c]))) as [
    number[],
    number[],
    number[],
  ];
  // The loss over the decades from 1e-8 to 1, so that both fit one axis.
  const decades = losses.map((loss) => Math.min(1, Math.max(0, 1 + Math.log10(loss) / 8)));
  return new Figure({
    title: "Grokking: addition modulo 113 from 30 % of the pairs",
    subtitle: "One layer, full batch, weight decay 1",
    x: { label: "Step" },
    y: { label: "Share, and decades of the loss", domain: [0, 1] },
    series: [
      { mark: "line", name: "accuracy on the other 70 %", x: steps, y: accuracies },
      { mark: "line", name: "training loss (0: 1e-8, 1: 1)", x: steps, y: decades, dashed: true, hue: "muted" },
    ],
  }).toSVG();
}
