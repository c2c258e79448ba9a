/** @file `interpretune sae-forward`: every hook point of an SAE, or a transcoder, for given activations. */
import { fileSource, openSafetensors, writeSafetensors } from "../../formats/index.ts";
import { leaf, type Tensor } from "../../graph/index.ts";
import { Runtime } from "../../runtime/index.ts";
import { loadLatentModel } from "../../sae/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { checkWritable } from "../inputs.ts";
import { cliHub } from "../hub.ts";
import { aligned, Output } from "../output.ts";

export interface SaeForwardFlags {
  readonly sae: string;
  readonly input: string;
  readonly out: string;
  readonly errorTerm?: boolean;
  readonly threads?: number;
  readonly offline?: boolean;
  readonly json?: boolean;
}

export async function saeForward(this: CliContext, flags: SaeForwardFlags): Promise<void> {
  await checkWritable(flags.out);
  const { hub, finish } = cliHub(this, flags);
  const sae = await loadLatentModel(flags.sae, { hub }).finally(finish);
  const input = await readInputTensor(flags.input);
  const runtime = new Runtime(flags.threads === undefined ? {} : { threads: flags.threads });
  const fired: Record<string, Tensor> = {};
  const fire = (name: string, value: Tensor): Tensor => (fired[name] = value);
  sae.forward(input, { fire, useErrorTerm: flags.errorTerm ?? false });
  const done = await runtime.realize(fired, { signal: this.signal });
  const tensors = Object.entries(done).map(
    ([name, { dtype, dims, data }]) => [name, { dtype, shape: dims, data }] as const,
  );
  await writeSafetensors(flags.out, Object.fromEntries(tensors));
  const output = new Output(this, flags.json);
  const active = (done["hook_sae_acts_post"]!.data as Float32Array).reduce((n, x) => n + (x > 0 ? 1 : 0), 0);
  const tokens = done["hook_sae_acts_post"]!.data.length / sae.dSae;
  const shapes = tensors.map(([name, { shape, dtype }]) => ({ name, shape, dtype }));
  const lines = shapes.map(({ name, shape, dtype }) => [name, `[${shape.join(", ")}]`, dtype]);
  await output.say(
    `${aligned(lines)}\n${(active / Math.max(1, tokens)).toFixed(1)} active latents per token; in ${flags.out}`,
  );
  await output.document({ out: flags.out, active_per_token: active / Math.max(1, tokens), tensors: shapes });
}

async function readInputTensor(path: string): Promise<Tensor> {
  const file = await openSafetensors(await fileSource(path));
  try {
    if (!file.has("input"))
      throw new CliError("the file has no tensor `input`", {
        code: "cli/input",
        where: path,
        expected: "activations [..., d_in] called input",
        received: file.names.slice(0, 8).join(", "),
      });
    return leaf(await file.readFloat32("input"), file.info("input").shape, { name: "input" });
  } finally {
    await file.close();
  }
}
