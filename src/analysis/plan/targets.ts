/** @file Whose latents analyses report: SAEs by release and id, by layer, or by the names of their points. */
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { startLayer } from "../engine/ablation.ts";
import { hooksOf } from "../engine/targets.ts";
import { AnalysisError } from "../errors.ts";
import type { HookInfo } from "../tables/index.ts";

/** The full name of an SAE. */
export interface SaeFqn {
  readonly release: string;
  readonly saeId: string;
}

/** Which SAEs. What is not given, or empty, does not narrow the choice. */
export interface TargetOptions {
  /** SAEs by release and id; where given, `ids` and `layers` are not asked for names. */
  readonly saeFqns?: readonly (SaeFqn | readonly [release: string, saeId: string])[];
  /** Default `gpt2-small-hook-z-kk`. */
  readonly saeRelease?: string;
  /** Ids within the release. */
  readonly targetSaeIds?: readonly string[];
  /** The id of a layer's SAE. Default `blocks.<layer>.hook_z`. */
  readonly saeIdFactoryFn?: (layer: number) => string;
  readonly targetLayers?: readonly number[];
  /** Short for `targetLayers`. */
  readonly layers?: readonly number[];
  /**
   * Which points are reported. It sees the names of all points of the SAEs that are loaded, and the layers. Default: the
   * latents (`…hook_sae_acts_post`) of these layers.
   */
  readonly saeHookMatchFn?: (name: string, layers: readonly number[] | null) => boolean;
}

const latents = "hook_sae_acts_post";

/**
 * The SAEs whose latents are analysed, as published: by `saeFqns`, else by `targetSaeIds`, else by layers.
 * @example
 * const targets = new LatentAnalysisTargets({ targetLayers: [9, 10] });
 * targets.saeFqns[0]; // { release: "gpt2-small-hook-z-kk", saeId: "blocks.9.hook_z" }
 * targets.resolve(model, saes)[0].name; // "blocks.9.attn.hook_z.hook_sae_acts_post"
 */
export class LatentAnalysisTargets {
  /** The SAEs to load; empty where only a match function is given, or nothing. */
  readonly saeFqns: readonly SaeFqn[];
  readonly saeRelease: string;
  readonly targetLayers: readonly number[] | null;
  readonly #named: boolean;
  readonly #match: TargetOptions["saeHookMatchFn"];

  /** @throws AnalysisError `analysis/targets` for a name that is not a pair of texts, or a layer that is not a count */
  constructor(options: TargetOptions = {}) {
    const { saeRelease = "gpt2-small-hook-z-kk", targetSaeIds = [], saeFqns = [] } = options;
    const { saeIdFactoryFn = (layer): string => `blocks.${layer}.hook_z` } = options;
    const layers = [...(options.targetLayers ?? []), ...(options.layers ?? [])];
    const wrong = layers.find((layer) => !Number.isInteger(layer) || layer < 0);
    if (wrong !== undefined) fail("a target layer is not the number of one", "0 or more", String(wrong));
    this.saeRelease = saeRelease;
    this.targetLayers = layers.length > 0 ? layers : null;
    this.#match = options.saeHookMatchFn;
    this.#named = saeFqns.length > 0 || targetSaeIds.length > 0;
    const ids = targetSaeIds.length > 0 ? targetSaeIds : layers.map(saeIdFactoryFn);
    this.saeFqns = saeFqns.length > 0 ? saeFqns.map(fqn) : ids.map((saeId) => fqn({ release: saeRelease, saeId }));
  }

  /**
   * The latents' points that are reported, in the order of the forward pass.
   * @throws AnalysisError `analysis/targets` when nothing matches, naming what there is; `analysis/no-saes` without SAEs
   */
  resolve(model: HookedModel, saes: readonly LatentModel[]): HookInfo[] {
    const all = hooksOf(model, saes);
    const there = all.map(({ info }) => info.name).join(", ");
    if (all.length === 0)
      throw new AnalysisError("targets need at least one SAE", {
        code: "analysis/no-saes",
        hint: "load SAEs, or leave targets out",
      });
    const layerOf = ({ sae }: (typeof all)[number]): number => startLayer(sae.hookNameOut, model.cfg.n_layers);
    let chosen = all;
    if (this.#named) {
      for (const name of this.saeFqns)
        if (!all.some(({ sae }) => isNamed(sae, name)))
          fail("no SAE of this name is loaded", there, `${name.release}/${name.saeId}`);
      chosen = chosen.filter(({ sae }) => this.saeFqns.some((name) => isNamed(sae, name)));
    }
    if (this.targetLayers !== null && this.#match === undefined)
      for (const layer of this.targetLayers)
        if (!all.some((each) => layerOf(each) === layer)) fail("no SAE is at this layer", there, String(layer));
    const match = this.#match ?? ((name): boolean => name.endsWith(latents));
    const layers = this.targetLayers;
    chosen = chosen.filter(
      (each) =>
        match(each.info.name, layers) &&
        (this.#match !== undefined || layers === null || layers.includes(layerOf(each))),
    );
    if (chosen.length === 0) fail("no point of the SAEs matches the targets", `one of ${there}`, this.toString());
    return chosen.map(({ info }) => info);
  }

  toString(): string {
    const layers = this.targetLayers === null ? "" : `layers ${this.targetLayers.join(", ")}`;
    const names = this.#named ? this.saeFqns.map(({ release, saeId }) => `${release}/${saeId}`).join(", ") : "";
    return (
      [names, layers, this.#match === undefined ? "" : "a match function"].filter(Boolean).join("; ") || "all SAEs"
    );
  }
}

/** The tutorials' name for {@link LatentAnalysisTargets}. */
export { LatentAnalysisTargets as SAEAnalysisTargets };

function fail(what: string, expected: string, received: string): never {
  throw new AnalysisError(what, { code: "analysis/targets", expected, received });
}

function fqn(name: SaeFqn | readonly [string, string]): SaeFqn {
  const [release, saeId]: readonly unknown[] =
    "release" in name ? [name.release, name.saeId] : Array.isArray(name) ? name : [];
  if (typeof release === "string" && typeof saeId === "string") return { release, saeId };
  return fail("the name of an SAE is a release and an id", "{ release, saeId } or [release, id]", JSON.stringify(name));
}

/** `blocks.9.hook_z` and `blocks.9.attn.hook_z` are one place: the block, and the last part of the name. */
function placeOf(name: string): string {
  const block = /^blocks\.(\d+)\.(?:.*\.)?(\w+)$/.exec(name);
  return block === null ? name : `${block[1]} ${block[2]}`;
}

/** Whether an SAE is the one of that name: by what its configuration says of itself, else by where it hooks in. */
function isNamed({ cfg: { metadata }, hookNameOut }: LatentModel, { release, saeId }: SaeFqn): boolean {
  const { sae_release, sae_id } = metadata;
  if (typeof sae_id !== "string") return placeOf(hookNameOut) === placeOf(saeId);
  return sae_id === saeId && (typeof sae_release !== "string" || sae_release === release);
}
