/** @file `interpretune saes`: the pretrained SAEs that are known by name. */
import { findSaeRelease, saeLoaders, saeReleases, searchSaes } from "../../sae/index.ts";
import type { CliContext } from "../context.ts";
import { aligned, Output } from "../output.ts";
import type { ListFlags } from "./models.ts";

/** Whether files of this layout are read. */
const isRead = (loader: string): boolean => Object.hasOwn(saeLoaders, loader);

const layout = (loader: string, read: boolean): string => (read ? loader : `${loader}, not read yet`);

export async function saes(this: CliContext, flags: ListFlags, filter = ""): Promise<void> {
  const output = new Output(this, flags.json);
  if (filter.trim() === "") return listReleases(output);
  const found = searchSaes(filter).map((sae) => {
    const { repo, model, loader } = findSaeRelease(sae.release)!;
    return { name: `${sae.release}/${sae.id}`, model, repo, loader, read: isRead(loader), ...sae };
  });
  const rows = found.map(({ name, model, l0, neuronpediaId, loader, read }) => [
    ...[name, model, l0 === undefined ? "" : String(l0), neuronpediaId ?? ""],
    layout(loader, read),
  ]);
  const table = aligned([["SAE", "model", "L0", "Neuronpedia", "layout"], ...rows]);
  await output.say(found.length === 0 ? "none" : `${table}\n${found.length} SAEs`);
  await output.document({ saes: found });
}

async function listReleases(output: Output): Promise<void> {
  const releases = saeReleases().map(({ name, model, repo, loader, saes }) => {
    return { name, model, repo, loader, read: isRead(loader), saes: saes.length };
  });
  const rows = releases.map(({ name, model, saes, loader, read }) => [name, model, String(saes), layout(loader, read)]);
  const count = releases.reduce((sum, { saes }) => sum + saes, 0);
  await output.say(
    `${aligned([["release", "model", "SAEs", "layout"], ...rows])}\n${count} SAEs of ${releases.length} releases`,
  );
  await output.document({ releases });
}
