/** @file What commands read beside models and data: token files, scalars to differentiate, places to write to. */
import { constants } from "node:fs";
import { access, readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { leaf, sub, sum, takeAlong, takeRows, type Tensor } from "../graph/index.ts";
import type { HookedModel, TokenBatch } from "../model/index.ts";
import { CliError } from "./failure.ts";

const id = z.number().int();
const tokensSchema = z.object({
  input_ids: z.array(z.array(id).min(1)).min(1),
  attention_mask: z.array(z.array(z.union([z.literal(0), z.literal(1)]))).optional(),
});
const targetsSchema = z.object({ right: z.array(id.nonnegative()).min(1), wrong: z.array(id.nonnegative()).min(1) });

async function readJson<S extends z.ZodType>(path: string, schema: S, expected: string): Promise<z.output<S>> {
  const fail = (received: string, cause: unknown): never => {
    throw new CliError("the file cannot be used", { code: "cli/input", where: path, expected, received, cause });
  };
  const text = await readFile(path, "utf8").catch((cause: unknown) =>
    fail(
      cause instanceof Error && "code" in cause ? `no readable file (${String(cause.code)})` : "no readable file",
      cause,
    ),
  );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return fail(cause instanceof Error ? cause.message : String(cause), cause);
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : fail(z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "), parsed.error);
}

/** A batch of `{"input_ids": [[…]], "attention_mask": [[…]]}`. What stands at padding does not matter. */
async function readTokens(model: HookedModel, path: string): Promise<TokenBatch> {
  const file = await readJson(path, tokensSchema, '{"input_ids": [[…]], "attention_mask": [[0 or 1 …]]}');
  const { attention_mask: mask } = file;
  const known = (x: number): boolean => x >= 0 && x < model.cfg.d_vocab;
  const ids = file.input_ids.map((row, b) => row.map((x, p) => (mask?.[b]?.[p] === 0 && !known(x) ? 0 : x)));
  return model.batch(ids, { attentionMask: mask });
}

/** One of a text and a token file, as a batch. */
export async function readInput(
  model: HookedModel,
  given: { text?: string; tokens?: string },
  names: readonly [text: string, tokens: string],
): Promise<TokenBatch> {
  if ((given.text === undefined) === (given.tokens === undefined))
    throw new CliError(`give ${names[0]} or ${names[1]}`, { code: "cli/flag" });
  return given.tokens === undefined ? model.batch(given.text!) : readTokens(model, given.tokens);
}

/** The ids of the logits whose difference is differentiated, for each row. */
export interface LogitTargets {
  readonly right: readonly number[];
  readonly wrong: readonly number[];
}

/** Reads `logit:ID-logit:ID`, or a file `{"right": [id per row], "wrong": [id per row]}`. */
export async function readTargets(expression: string, rows: number, vocabulary: number): Promise<LogitTargets> {
  const found = /^logit:(\d+)-logit:(\d+)$/.exec(expression.replaceAll(" ", ""));
  if (found === null && (expression.startsWith("logit:") || !(await exists(expression))))
    throw new CliError("there is nothing to take the gradient of", {
      code: "cli/grad-of",
      expected: "logit:ID-logit:ID, or a JSON file",
      received: JSON.stringify(expression),
    });
  const all = (text: string): number[] => new Array<number>(rows).fill(Number(text));
  const targets =
    found === null
      ? await readJson(expression, targetsSchema, '{"right": [id per row], "wrong": [id per row]}')
      : { right: all(found[1]!), wrong: all(found[2]!) };
  for (const [name, ids] of Object.entries(targets)) {
    const bad = ids.find((x) => x >= vocabulary);
    if (ids.length !== rows || bad !== undefined)
      throw new CliError("the gradient's ids do not fit", {
        code: "cli/grad-of",
        where: name,
        expected: `${rows} ids below ${vocabulary}, one per row`,
        received: bad === undefined ? `${ids.length} ids` : String(bad),
      });
  }
  return targets;
}

/** Σ over rows of logit[right] − logit[wrong] at each row's last real position. */
export function logitDifference(logits: Tensor, batch: TokenBatch, { right, wrong }: LogitTargets): Tensor {
  const size = batch.batchSize;
  const column = (ids: readonly number[], name: string): Tensor =>
    leaf(BigInt64Array.from(ids, BigInt), [size, 1], { shape: [batch.batch, 1], name });
  const last = takeRows(logits, column(batch.lastPositions, "last positions")); // [batch, 1, d_vocab_out]
  const at = (ids: readonly number[], name: string): Tensor =>
    takeAlong(last, leaf(BigInt64Array.from(ids, BigInt), [size, 1, 1], { shape: [batch.batch, 1, 1], name }), 2);
  return sum(sub(at(right, "right ids"), at(wrong, "wrong ids")));
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Checks that a file can be written before anything is computed. */
export async function checkWritable(path: string): Promise<void> {
  const folder = dirname(path);
  const problem = await access(folder, constants.W_OK).then(
    async () => ((await stat(path).catch(() => undefined))?.isDirectory() ? "it is a folder" : undefined),
    (error: NodeJS.ErrnoException) =>
      error.code === "ENOENT" ? `there is no folder ${folder}` : `${folder} is not writable`,
  );
  if (problem !== undefined)
    throw new CliError(`cannot write ${path}: ${problem}`, {
      code: "cli/unwritable",
      hint: "choose another place with --out",
    });
}
