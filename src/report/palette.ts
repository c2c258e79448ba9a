/** @file The page's colours by role, in light and in dark. */

/** What a colour says. */
export type Role =
  | "paper"
  | "panel"
  | "raised"
  | "line"
  | "ink"
  | "soft"
  | "link"
  | "positive"
  | "negative"
  | "accent"
  | "muted"
  | "heat";

/**
 * Text roles keep a contrast of 4.5 on every surface, marks of 3. Blue and orange are told apart with any colour vision.
 */
export const palette: Readonly<Record<Role, readonly [light: string, dark: string]>> = {
  paper: ["#ffffff", "#0f1318"],
  panel: ["#f5f6f8", "#171c23"],
  raised: ["#ffffff", "#1c222a"],
  line: ["#d9dee4", "#2d3640"],
  ink: ["#1a1e23", "#e5e9ee"],
  soft: ["#535c66", "#a3adb8"],
  link: ["#0a58a8", "#74b6f7"],
  positive: ["#1f6fb2", "#5ba7e6"],
  negative: ["#b34a00", "#f08c45"],
  accent: ["#6b46b8", "#b69cf2"],
  muted: ["#717a84", "#88929d"],
  heat: ["#f0a020", "#b36b00"],
};

/** What stands on what: pairs whose contrast is checked, with the ratio that they need. */
export const contrasts: readonly (readonly [front: Role, back: Role, ratio: number])[] = [
  ...(["ink", "soft", "link", "positive", "negative"] as const).flatMap((front) =>
    (["paper", "panel", "raised"] as const).map((back) => [front, back, 4.5] as const),
  ),
  ...(["accent", "muted"] as const).flatMap((front) =>
    (["paper", "panel", "raised"] as const).map((back) => [front, back, 3] as const),
  ),
];

const names: Readonly<Partial<Record<string, string>>> = {
  positive: "--it-positive",
  negative: "--it-negative",
  accent: "--it-accent",
  muted: "--it-muted",
  heat: "--it-heat",
};

/** The colours as CSS variables that follow `color-scheme`. Those of displays have the displays' names. */
export const paletteVariables: string = Object.entries(palette)
  .map(([role, [light, dark]]) => `${names[role] ?? `--${role}`}:light-dark(${light},${dark})`)
  .join(";");
