/** @file Where Neuronpedia shows a latent. */

/** What a link shows in a frame: no page around it, explanation, plots and a test field. */
const embedding = "embed=true&embedexplanation=true&embedplots=true&embedtest=true&height=300";

/**
 * The page of a latent and its form for a frame of 800 × 600.
 * @param id `metadata.neuronpedia_id` of the SAE: model/layer-set
 * @example
 * neuronpediaLinks("gpt2-small/9-att-kk", 9464).page; // "https://neuronpedia.org/gpt2-small/9-att-kk/9464"
 */
export function neuronpediaLinks(id: string, latent: number): { page: string; embed: string } {
  const page = `https://neuronpedia.org/${id.split("/").map(encodeURIComponent).join("/")}/${latent}`;
  return { page, embed: `${page}?${embedding}` };
}
