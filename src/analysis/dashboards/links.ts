/** @file Links to published dashboards of the latents with the largest effects, as the tutorials list them. */
import {
  csvLine,
  displayAs,
  displayStyle,
  escapeHtml,
  fixed,
  Section,
  type Displayable,
  type HtmlOptions,
  type PngOptions,
} from "../../display/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import type { HookMetrics } from "../review/index.ts";
import { saeHook } from "./effects.ts";
import { neuronpediaLinks } from "./neuronpedia.ts";

/** One latent of a list. */
export interface DashboardLink {
  /** The name of the latents' point. */
  readonly hook: string;
  readonly list: "positive" | "negative";
  readonly latent: number;
  readonly total_effect: number;
  readonly num_samples_active: number;
  /** Null where the SAE has no id on Neuronpedia. */
  readonly page: string | null;
  readonly embed: string | null;
}

export interface DisplayDashboardsOptions {
  /** Stands before each hook's name: `<title> for <hook>:`. */
  readonly title?: string;
  /** Latents of each list. Default 1. */
  readonly topK?: number;
  /** Where ids come from: the SAE's own `metadata.neuronpedia_id`, whatever kind of hook it is at. */
  readonly saes?: readonly LatentModel[];
  /** Ids by hook point, `model/layer-set`; they win over the SAEs' own. */
  readonly neuronpediaIds?: Readonly<Record<string, string>>;
}

/** What the lists need of a run's metrics: `latentMetrics` gives it. */
export interface RankedMetrics {
  readonly hooks: readonly Pick<HookMetrics, "hook" | "latents" | "total_effect" | "num_samples_active">[];
}

/** The lists of {@link displayLatentDashboards}. */
export class DashboardLinks implements Displayable {
  readonly title: string;
  readonly links: readonly DashboardLink[];
  readonly hooks: readonly string[];

  constructor(title: string, hooks: readonly string[], links: readonly DashboardLink[]) {
    this.title = title;
    this.hooks = hooks;
    this.links = links;
  }

  /** The published lines; a list that holds effects of the other sign, which topK alone decides, says so. */
  toString(): string {
    const lines = this.hooks.flatMap((hook) => {
      const lists = (["positive", "negative"] as const).flatMap((list) => {
        const own = this.#list(hook, list);
        const remark = remarkOn(list, own);
        return [
          "",
          `${list}:`,
          ...(remark === null ? [] : [remark]),
          ...own.flatMap((link) => [sentence(link), link.embed ?? noId]),
        ];
      });
      return [`${this.title} for ${hook}:`, ...lists, ""];
    });
    return lines.join("\n").trimEnd();
  }

  /** Lists with links to the pages; nothing is fetched. */
  toHTML({ style = true, level = 2 }: HtmlOptions = {}): Promise<string> {
    const parts = this.hooks.map((hook) => {
      const lists = (["positive", "negative"] as const).map((list) => {
        const own = this.#list(hook, list);
        const remark = remarkOn(list, own);
        const items = own.map(({ page, ...link }) => {
          const text = escapeHtml(sentence({ ...link, page }));
          return `<li>${page === null ? `${text} (${noId})` : `<a href="${escapeHtml(page)}" rel="noreferrer">${text}</a>`}</li>`;
        });
        return `<h${level + 1}>${list}</h${level + 1}>${remark === null ? "" : `<p>${remark}</p>`}<ul>${items.join("")}</ul>`;
      });
      return `<h${level}>${escapeHtml(`${this.title} for ${hook}`)}</h${level}>${lists.join("")}`;
    });
    return Promise.resolve(`${style ? displayStyle : ""}<section class="it-section">${parts.join("")}</section>`);
  }

  toSVG(): Promise<string> {
    return this.#drawing().toSVG();
  }

  toPNG(options: PngOptions = {}): Promise<Uint8Array> {
    return this.#drawing().toPNG(options);
  }

  toJSON(): readonly DashboardLink[] {
    return this.links;
  }

  toCSV(): string {
    const heads = ["hook", "list", "latent", "total_effect", "num_samples_active", "page", "embed"] as const;
    return csvLine(heads) + this.links.map((link) => csvLine(heads.map((name) => link[name]))).join("");
  }

  #list(hook: string, list: DashboardLink["list"]): DashboardLink[] {
    return this.links.filter((link) => link.hook === hook && link.list === list);
  }

  #drawing(): Section {
    return new Section(this.toString().split("\n\n"), { title: this.title });
  }

  static {
    displayAs(this);
  }
}

const noId = "no Neuronpedia page: the SAE has no id there";

const sentence = ({ latent, total_effect, num_samples_active: n }: DashboardLink): string =>
  `#${latent} had total effect ${fixed(total_effect, 2)} and was active in ${n} examples`;

function remarkOn(list: DashboardLink["list"], links: readonly DashboardLink[]): string | null {
  const sign = list === "positive" ? 1 : -1;
  const wrong = links.filter((link) => !(sign * link.total_effect > 0)).length;
  if (wrong === 0) return null;
  return `(${wrong} of these ${links.length} have no ${list} effect: fewer than ${links.length} latents do)`;
}

/**
 * For each hook the latents with the largest and the smallest total effects, with links to their dashboards on
 * Neuronpedia, as published: lists are the ends of one ranking, so a short one may hold effects of the other sign, and
 * then says so. Works for SAEs at any kind of hook point: ids come from the SAEs.
 *
 * @example
 * const store = await AnalysisStore.open("runs/rte");
 * const metrics = latentMetrics(await store.load("logit_diffs_attr_ablation"));
 * console.log(String(displayLatentDashboards(metrics, { title: "Ablation-Mediated Latent Analysis", saes })));
 */
export function displayLatentDashboards(
  metrics: RankedMetrics,
  options: DisplayDashboardsOptions = {},
): DashboardLinks {
  const { title = "Latent dashboards", topK = 1, saes = [], neuronpediaIds = {} } = options;
  const ids = new Map(saes.map(({ hookNameOut, cfg }) => [hookNameOut, cfg.metadata.neuronpedia_id ?? undefined]));
  for (const [hook, id] of Object.entries(neuronpediaIds)) ids.set(saeHook(hook), id);
  const links = metrics.hooks.flatMap((own): DashboardLink[] => {
    const id = ids.get(saeHook(own.hook.name));
    const places = Array.from(own.latents.keys()).sort((a, b) => own.total_effect[b]! - own.total_effect[a]! || a - b);
    const make = (list: DashboardLink["list"], place: number): DashboardLink => ({
      hook: own.hook.name,
      list,
      latent: own.latents[place]!,
      total_effect: own.total_effect[place]!,
      num_samples_active: own.num_samples_active[place]!,
      ...(id === undefined ? { page: null, embed: null } : neuronpediaLinks(id, own.latents[place]!)),
    });
    const ends = { positive: places.slice(0, topK), negative: places.toReversed().slice(0, topK) };
    return (["positive", "negative"] as const).flatMap((list) => ends[list].map((place) => make(list, place)));
  });
  return new DashboardLinks(
    title,
    metrics.hooks.map(({ hook }) => hook.name),
    links,
  );
}
