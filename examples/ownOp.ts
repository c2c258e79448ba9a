// Your own op: how sure is the model, and how much of that is the SAEs' doing? An op declares what it reads and writes and
// builds expressions; composed with others it runs in their graph, and its columns are stored and reviewed like any other.
import { AnalysisRunner, composite, defineOp, HookedModel, ops, Session, sigmoid, Table } from "interpretune";
import { exampleArguments } from "./arguments.ts";

const confidence = defineOp({
  name: "answer_confidence",
  description: "The right answer's share of the probability that the answers have together.",
  input: { logit_diffs: { per: "example", type: "float32", description: "right minus wrong" } },
  output: { confidence: { per: "example", type: "float32", description: "between 0 and 1" } },
  run: ({ logit_diffs }) => ({ confidence: sigmoid(logit_diffs) }),
});

const { model, saes, data, limit } = exampleArguments(["saes", "data"]);
const session = await Session.create({
  adapterCtx: ["core", "sae_lens"],
  model: await HookedModel.load(model),
  saes,
  data,
  sharedCfg: { taskName: "rte" },
  evalBatchSize: 2,
});
const runner = new AnalysisRunner(session, { limitAnalysisBatches: limit });
const clean = composite({ name: "clean" }, ops.logitDiffsBase, confidence);
const spliced = composite({ name: "spliced" }, ops.logitDiffsSae, confidence);
const results = await runner.run([clean, spliced]);

const rows = results.clean.examples.map(({ example, confidence: before }, i) => [
  Number(example),
  Number(before),
  Number(results.spliced.examples[i]!["confidence"]),
]);
const columns = ["example", "clean", "spliced"].map((key) => ({ key, label: key }));
console.log(String(new Table(columns, rows, "Confidence in the right answer")));
