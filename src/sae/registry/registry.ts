/** @file The registry of pretrained SAEs that SAELens knows: releases, where they lie, what they are for. */
import type { JsonObject } from "../../formats/index.ts";
import { nearest } from "../../graph/nearest.ts";
import { SaeError } from "../errors.ts";
import { releases as folded } from "./table.ts";
import { unfoldSaes, type RegisteredSae } from "./unfold.ts";

/** SAEs that were published together. */
export interface SaeRelease {
  readonly name: string;
  /** The repository on the hub. */
  readonly repo: string;
  /** The model they were trained on, by TransformerLens' name. */
  readonly model: string;
  /** How their files are laid out, by SAELens' name; `native` is its own. */
  readonly loader: string;
  /** What the release says about all its SAEs, over what their files say. */
  readonly overrides: JsonObject;
  readonly saes: readonly RegisteredSae[];
}

let table: ReadonlyMap<string, SaeRelease> | undefined;

function known(): ReadonlyMap<string, SaeRelease> {
  return (table ??= new Map(
    folded.map((text) => {
      const [facts = "", ...lines] = text.split("\n");
      const [name = "", repo = "", model = "", loader = "", overrides = "{}"] = facts.split("\t");
      let saes: readonly RegisteredSae[] | undefined;
      const release: SaeRelease = {
        ...{ name, repo, model, loader, overrides: JSON.parse(overrides) as JsonObject },
        get saes() {
          return (saes ??= unfoldSaes(name, lines));
        },
      };
      return [name, release];
    }),
  ));
}

/**
 * All releases, by name.
 * @example
 * saeReleases().find(({ name }) => name === "gpt2-small-hook-z-kk")?.saes.length; // 12
 */
export function saeReleases(): readonly SaeRelease[] {
  return [...known().values()];
}

/**
 * A release, if there is one of this name.
 * @example
 * findSaeRelease("gpt2-small-res-jb")?.repo; // "jbloom/GPT2-Small-SAEs-Reformatted"
 */
export function findSaeRelease(name: string): SaeRelease | undefined {
  return known().get(name);
}

/**
 * An SAE of a release.
 * @throws SaeError naming near ids of the release
 * @example
 * registeredSae("gpt2-small-hook-z-kk", "blocks.9.hook_z").neuronpediaId; // "gpt2-small/9-att-kk"
 */
export function registeredSae(release: string, id: string): RegisteredSae {
  const { saes } = findSaeRelease(release) ?? noRelease(release);
  const found = saes.find((sae) => sae.id === id);
  if (found !== undefined) return found;
  const ids = saes.map((sae) => sae.id);
  throw new SaeError(`the release ${release} has no such SAE`, {
    code: "sae/not-found",
    expected: `one of its ${ids.length} ids`,
    received: JSON.stringify(id),
    hint: `${id === "" ? "such as" : "near ones:"} ${nearest(id, ids).join(", ")}`,
  });
}

function noRelease(name: string): never {
  throw new SaeError("there is no release of this name", {
    code: "sae/not-found",
    received: JSON.stringify(name),
    hint: `near ones: ${releasesNear(name).join(", ")}`,
  });
}

/** Names of releases near to one, for hints. */
export function releasesNear(name: string): string[] {
  return nearest(name, known().keys(), 3, 0.5);
}

/**
 * The SAEs whose release, id, model, repository or Neuronpedia id have all words of a filter in them, whatever their case.
 * @example
 * searchSaes("gpt2-small hook_z").length; // 12
 */
export function searchSaes(filter: string): RegisteredSae[] {
  const words = filter
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  return saeReleases().flatMap((release) => {
    const shared = `${release.name} ${release.repo} ${release.model}`.toLowerCase();
    const left = words.filter((word) => !shared.includes(word));
    return left.length === 0
      ? release.saes
      : release.saes.filter(({ id, neuronpediaId = "" }) => {
          const own = `${release.name}/${id} ${neuronpediaId}`.toLowerCase();
          return left.every((word) => own.includes(word));
        });
  });
}
