/** @file `interpretune models`: the models that are known by name. */
import { knownModels } from "../../model/index.ts";
import type { CliContext } from "../context.ts";
import { aligned, Output } from "../output.ts";

export interface ListFlags {
  readonly json?: boolean;
}

export async function models(this: CliContext, flags: ListFlags, filter = ""): Promise<void> {
  const output = new Output(this, flags.json);
  const words = filter.toLowerCase().split(/\s+/);
  const found = knownModels().filter(({ id, aliases }) => {
    const text = [id, ...aliases].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const rows = found.map(({ id, aliases }) => [id, aliases.join(", ")]);
  await output.say(found.length === 0 ? "none" : aligned([["hub id", "other names"], ...rows]));
  await output.document({ models: found });
}
