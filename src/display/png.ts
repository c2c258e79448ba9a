/** @file Drawings as pixels. */
import type { PngOptions } from "./displayable.ts";
import { themes } from "./style.ts";

/** A complete drawing as PNG, in the colours of a theme, with the fonts of the system. */
export async function png(svg: string, { scale = 2, theme = "light" }: PngOptions): Promise<Uint8Array> {
  const { Resvg } = await import("@resvg/resvg-js");
  const { text, paper } = themes[theme];
  const painted = svg
    .replace("<svg ", `<svg color="${text}" `)
    .replaceAll(/<style>.*?<\/style>/gs, "")
    .replaceAll(/var\(--[\w-]+,([^)]+)\)/g, "$1");
  return new Resvg(painted, { background: paper, fitTo: { mode: "zoom", value: scale } }).render().asPng();
}
