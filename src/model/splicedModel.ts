/** @file A model with splices: the same runs, on the spliced forward pass. */
import type { Tensor } from "../graph/tensor.ts";
import type { ActivationCache } from "./activationCache.ts";
import type { GenerateOptions, Generation, GenerationStep } from "./generate.ts";
import type { HookedModel } from "./hookedModel.ts";
import type { NameFilter, Splice } from "./hooks.ts";
import type { ModelInput, RunOptions } from "./runOptions.ts";
import type { Traced } from "./traced.ts";

/**
 * A model with splices; the same runs, on the spliced forward pass.
 * @example
 * const spliced = model.splice(saes, { useErrorTerm: true });
 * const { logits, acts } = await spliced.run("Once upon a time", ({ logits, hooks }) => ({
 *   logits,
 *   acts: hooks["blocks.9.attn.hook_z.hook_sae_acts_post"]!, // [batch, pos, d_sae]
 * }));
 */
export class SplicedModel {
  readonly model: HookedModel;
  readonly splices: ReadonlyMap<string, Splice>;

  constructor(model: HookedModel, splices: ReadonlyMap<string, Splice>) {
    this.model = model;
    this.splices = splices;
  }

  trace(input: ModelInput, options: RunOptions = {}): Traced {
    return this.model.trace(input, { ...options, splices: this.splices });
  }

  run(input: ModelInput, options?: RunOptions): Promise<Tensor>;
  run<T>(input: ModelInput, select: (traced: Traced) => T, options?: RunOptions): Promise<T>;
  run<T>(input: ModelInput, second?: ((traced: Traced) => T) | RunOptions, third?: RunOptions): Promise<T | Tensor> {
    const options = { ...((typeof second === "function" ? third : second) ?? {}), splices: this.splices };
    return typeof second === "function" ? this.model.run(input, second, options) : this.model.run(input, options);
  }

  runWithCache(
    input: ModelInput,
    options: RunOptions & { names?: NameFilter } = {},
  ): Promise<{ logits: Tensor; cache: ActivationCache }> {
    return this.model.runWithCache(input, { ...options, splices: this.splices });
  }

  generate(input: ModelInput, options: GenerateOptions = {}): Promise<Generation> {
    return this.model.generate(input, { ...options, splices: this.splices });
  }

  generateStream(input: ModelInput, options: GenerateOptions = {}): AsyncGenerator<GenerationStep, void, void> {
    return this.model.generateStream(input, { ...options, splices: this.splices });
  }

  gradients(
    input: ModelInput,
    metric: (traced: Traced) => Tensor,
    wrt: { names?: NameFilter; weights?: readonly string[] },
    options: RunOptions = {},
  ): Promise<{ value: Tensor; hooks: Record<string, Tensor>; weights: Record<string, Tensor> }> {
    return this.model.gradients(input, metric, wrt, { ...options, splices: this.splices });
  }
}
