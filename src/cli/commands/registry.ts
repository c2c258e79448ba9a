/** @file `interpretune registry`: the sessions that are known by name. */
import { stringify } from "yaml";
import { Registry, sessionDocument, type RegistryEntry } from "../../session/index.ts";
import { Table } from "../../display/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { cliHub } from "../hub.ts";
import { Output } from "../output.ts";

export interface RegistryFlags {
  readonly registry?: readonly string[];
  readonly offline?: boolean;
  readonly json?: boolean;
}

export async function registry(this: CliContext, flags: RegistryFlags, verb = "list", key?: string): Promise<void> {
  const output = new Output(this, flags.json);
  let all = await Registry.bundled();
  for (const path of flags.registry ?? []) all = all.and(await Registry.open(path));
  if (verb === "list" && key === undefined) {
    const rows = all.list().map((entry) => ({ ...facts(entry), description: entry.description }));
    const columns = [
      { key: "key", label: "Key" },
      { key: "adapters", label: "Adapters" },
      { key: "description", label: "" },
    ];
    await output.say(
      String(
        new Table(
          columns,
          rows.map((row) => [row.key, row.adapters.join(" or "), row.description]),
        ),
      ),
    );
    await output.document({ entries: rows });
    return;
  }
  if (verb !== "describe" || key === undefined)
    throw new CliError("there is list, and describe with a key", {
      code: "cli/registry",
      received: [verb, key].filter((word) => word !== undefined).join(" "),
    });
  const { hub, finish } = cliHub(this, flags);
  const entry = await all.describe(key, { hub }).finally(finish);
  const config = sessionDocument(entry.config);
  await output.say(`# ${entry.key}\n${stringify(config).trimEnd()}`);
  await output.document({ ...facts(entry), config });
}

const facts = ({
  key,
  aliases,
  combinations,
  model,
  task,
}: RegistryEntry): { key: string; adapters: string[]; [name: string]: unknown } => ({
  key,
  aliases,
  model,
  task,
  adapters: combinations.map((each) => each.join("+")),
});
