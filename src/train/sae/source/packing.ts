/** @file Documents as rows of tokens: joined and cut to the context, or one by one. */
import type { Tokenizer } from "../../../model/index.ts";
import { TrainError } from "../../errors.ts";
import type { SaeTrainingOptions } from "../options.ts";

/** A document: text, or the ids of its tokens. */
export type Document = string | readonly number[];

/** Documents in their order; each call begins anew. */
export type Documents = () => AsyncIterable<Document> | Iterable<Document>;

/** A row of a context's length with what of it is real. */
export interface TokenRow {
  readonly ids: readonly number[];
  /** Real tokens; padding follows. */
  readonly length: number;
}

/** Where a packer stands. Plain numbers: JSON holds it. */
export interface PackerState {
  /** How often the documents have been read to their end. */
  readonly epoch: number;
  /** Documents that are used up. */
  readonly document: number;
  /** Tokens of the next document that are used up. */
  readonly offset: number;
  /** The row that is being filled. */
  readonly row: readonly number[];
}

export interface Packer {
  /** The next row; documents begin anew at their end. */
  next(): Promise<TokenRow>;
  readonly state: PackerState;
  /** Ends the reading of the documents. */
  close(): Promise<void>;
}

type PackingOptions = Pick<
  SaeTrainingOptions,
  "contextSize" | "disableConcatSequences" | "promptsOneByOne" | "prependBos" | "sequenceSeparatorToken"
>;

/** Ids that packing puts in. */
interface Marks {
  readonly bos: number | undefined;
  readonly separator: number | undefined;
  readonly pad: number;
}

function marksOf(tokenizer: Tokenizer | undefined, options: PackingOptions): Marks {
  const need = (what: "bos" | "eos"): number => {
    const id = what === "bos" ? tokenizer?.bosId : tokenizer?.eosId;
    if (id !== undefined) return id;
    throw new TrainError(`the model's tokenizer has no ${what} token`, {
      code: "train/sae-data",
      hint: "set prepend_bos to false and sequence_separator_token to an id or null",
    });
  };
  const { sequenceSeparatorToken: separator, prependBos } = options;
  const joins = !options.promptsOneByOne && !options.disableConcatSequences;
  return {
    bos: prependBos ? need("bos") : undefined,
    separator: !joins || separator === null ? undefined : typeof separator === "number" ? separator : need(separator),
    pad: tokenizer?.padId ?? 0,
  };
}

/**
 * Rows of tokens, by SAELens' rules (`concat_and_batch_sequences`): BOS first in each row, the separator between
 * documents, neither twice in a row.
 * @param from where to go on
 */
export function packer(
  documents: Documents,
  tokenizer: Tokenizer | undefined,
  options: PackingOptions,
  from: PackerState = { epoch: 0, document: 0, offset: 0, row: [] },
): Packer {
  const { contextSize: size } = options;
  const { bos, separator, pad } = marksOf(tokenizer, options);
  let { epoch, document, offset } = from;
  let row = [...from.row];
  let reader: AsyncIterator<Document> | Iterator<Document> | undefined;
  let current: readonly number[] | undefined;

  const idsOf = (given: Document): readonly number[] => {
    if (typeof given !== "string") return given;
    if (tokenizer !== undefined) return tokenizer.encode(given, { prependBos: false }).ids;
    throw new TrainError("texts need a tokenizer, and the model has none", {
      code: "train/sae-data",
      hint: "give token ids",
    });
  };
  const open = async (skip: number): Promise<void> => {
    const given = documents();
    reader = Symbol.asyncIterator in given ? given[Symbol.asyncIterator]() : given[Symbol.iterator]();
    for (let i = 0; i < skip; i++) if ((await reader.next()).done === true) break;
  };
  /** Tokens of the document that is being read. */
  const read = async (): Promise<readonly number[]> => {
    if (reader === undefined) await open(document);
    for (let empty = 0; current === undefined;) {
      const found: IteratorResult<Document, unknown> = await reader!.next();
      if (found.done !== true) current = idsOf(found.value);
      else if (document === 0 || ++empty > 1)
        throw new TrainError("there are no documents to train on", { code: "train/sae-data" });
      else {
        epoch++;
        document = 0;
        await open(0);
      }
    }
    return current;
  };
  const close = (): void => {
    current = undefined;
    document++;
    offset = 0;
  };
  const begun = (ids: readonly number[]): readonly number[] =>
    bos !== undefined && ids[0] !== bos ? [bos, ...ids] : ids;

  /** One document a row. */
  const whole = async (): Promise<TokenRow> => {
    for (let missed = 0; ; missed++) {
      const ids = begun(await read()).slice(0, size);
      close();
      if (ids.length === size || (options.promptsOneByOne && ids.length > 0))
        return { ids: [...ids, ...Array.from({ length: size - ids.length }, () => pad)], length: ids.length };
      if (missed > document && epoch > 0)
        throw new TrainError("no document is as long as the context", {
          code: "train/sae-data",
          expected: `${size} tokens`,
          hint: "join documents, or lower context_size",
        });
    }
  };
  const joined = async (): Promise<TokenRow> => {
    while (row.length < size) {
      const ids = await read();
      const rest = ids.slice(offset);
      if (rest.length > 0) {
        const mark = row.length === 0 ? bos : separator;
        if (mark !== undefined && rest[0] !== mark) row.push(mark);
        const taken = rest.slice(0, size - row.length);
        row.push(...taken);
        offset += taken.length;
      }
      if (offset >= ids.length) close();
    }
    const ids = row;
    row = [];
    return { ids, length: size };
  };
  return {
    next: options.promptsOneByOne || options.disableConcatSequences ? whole : joined,
    get state(): PackerState {
      return { epoch, document, offset, row: [...row] };
    },
    close: async () => {
      await reader?.return?.();
    },
  };
}
