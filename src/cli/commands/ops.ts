/** @file `interpretune ops`: the ops that analyses are made of, and what one of them reads, writes and needs. */
import { bundledOps, environmentOps, opInfo, withComponents, type OpInfo } from "../../analysis/index.ts";
import { loadComponent } from "../../session/index.ts";
import type { CliContext } from "../context.ts";
import { cliHub } from "../hub.ts";
import { aligned, Output } from "../output.ts";

export interface OpsFlags {
  readonly components?: readonly string[];
  readonly offline?: boolean;
  readonly json?: boolean;
}

export async function ops(this: CliContext, flags: OpsFlags, name?: string): Promise<void> {
  const output = new Output(this, flags.json);
  const { hub, finish } = cliHub(this, flags);
  const components = await Promise.all((flags.components ?? []).map((each) => loadComponent(each, { hub }))).finally(
    finish,
  );
  const { env } = this.process;
  const known = withComponents(bundledOps, components);
  const table = await environmentOps({ ...(env && { env }), table: known, hub });
  if (name === undefined) {
    const rows = table.ops.map((op) => {
      const info = opInfo(op);
      const { name: own, description, aliases } = info;
      const also = aliases.length > 0 ? ` Also ${aliases.join(", ")}.` : "";
      const needs = needsOf(info);
      return [own, `${description}${also}${needs === "" ? "" : ` Needs ${needs}.`}`];
    });
    await output.say(`${aligned([["op", "what it does"], ...rows], output.width)}\n${rows.length} ops`);
    await output.document({ ops: table.ops.map((op) => opInfo(op)) });
    return;
  }
  const info = opInfo(name, table);
  const { aliases, chain, params, where } = info;
  const facts = [
    [info.name, info.description],
    ["aliases", aliases.join(", ")],
    ["made of", chain.length > 1 ? chain.join(" . ") : ""],
    ["needs", needsOf(info)],
    ["parameters", Object.keys(params).length > 0 ? JSON.stringify(params) : ""],
    ["written in", where ?? ""],
  ];
  const lines = facts.filter(([, fact]) => fact !== "").map(([label, fact]) => `${label}: ${fact}`);
  const columns = info.columns.map(({ column, role, values, optional, description }) => [
    ...[role, column],
    `${description}; ${values}${optional ? ", optional" : ""}`,
  ]);
  await output.say(`${lines.join("\n")}\n${aligned([["", "column", "what it holds"], ...columns], output.width)}`);
  await output.document(info);
}

/** What an op cannot do without, in words. */
const needsOf = ({ requires, requires_gradient }: OpInfo): string =>
  [...requires, ...(requires_gradient ? ["gradients"] : [])].join(", ");
