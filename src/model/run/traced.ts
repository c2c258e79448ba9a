/** @file What a traced forward pass offers to build on. */
import { subDims } from "../../graph/axis.ts";
import { slice } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { ModelError } from "../errors.ts";
import { noSuchPoint } from "../hooks/filter.ts";
import type { Trace } from "../hooks/trace.ts";
import type { ForwardOutput } from "../transformer/transformer.ts";
import type { TokenBatch } from "./batch.ts";
import { lossPerToken, meanLoss } from "./loss.ts";
import { pastAfter, type Past } from "./past.ts";

/** What a traced forward pass offers to build on. All values are lazy. */
export interface Traced {
  /** [batch, pos, d_vocab_out] */
  readonly logits: Tensor;
  /** Values by hook name; an unknown name is an error with the nearest ones. */
  readonly hooks: Readonly<Record<string, Tensor>>;
  /** The residual after the last block that ran, [batch, pos, d_model]. */
  readonly residual: Tensor;
  /** Mean next-token cross entropy, a scalar. */
  readonly loss: Tensor;
  /** Next-token cross entropy, [batch, pos − 1]. */
  readonly lossPerToken: Tensor;
  /** Keys and values of all tokens up to here: realize it and give it to a run over what follows. */
  readonly past: Past;
  readonly batch: TokenBatch;
  readonly output: ForwardOutput;
}

/** The key mask of the batch's own tokens. */
function ownMask({ keyMask, pos, past }: TokenBatch): Tensor | undefined {
  return keyMask === undefined || past === undefined ? keyMask : slice(keyMask, 1, subDims(keyMask.shape[1]!, pos));
}

/** The view of a traced pass. @internal */
export function tracedView(batch: TokenBatch, output: ForwardOutput, trace: Trace): Traced {
  const hooks = new Proxy(Object.fromEntries(trace.captured), {
    get: (target, name) => {
      if (typeof name === "symbol" || name in target) return target[name as string];
      if (!trace.names.has(name)) throw noSuchPoint(`no hook point ${name} fired in this run`, name, trace.names);
      throw new ModelError("this run does not keep the value of a hook point", {
        code: "model/not-kept",
        where: name,
        hint: "name it in `capture`",
      });
    },
  });
  const logits = (): Tensor => {
    if (output.logits === undefined)
      throw new ModelError("this run stopped before the logits", { code: "model/stopped", hint: "use `residual`" });
    return output.logits;
  };
  return {
    hooks,
    batch,
    output,
    residual: output.residual,
    get logits() {
      return logits();
    },
    get loss() {
      return meanLoss(logits(), batch.tokens, ownMask(batch));
    },
    get lossPerToken() {
      return lossPerToken(logits(), batch.tokens, ownMask(batch));
    },
    get past() {
      return pastAfter(batch, output);
    },
  };
}
