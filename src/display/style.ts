/** @file One look for tables, figures and sections: colours by role, and the style sheet of HTML renderings. */

/** What a colour says. */
export type Hue = "positive" | "negative" | "accent" | "muted" | "text";

/**
 * Colours that people with any colour vision tell apart, with a contrast above 3 on white and on near-black. A page may
 * override each as a CSS variable: `--it-positive`, `--it-negative`, `--it-accent`, `--it-muted`. Text and lines have
 * the colour of the text around them.
 */
const hues: Readonly<Record<Exclude<Hue, "text">, string>> = {
  positive: "#2b7bba",
  negative: "#d55e00",
  accent: "#8a63d2",
  muted: "#808890",
};

/** A hue as it stands in a drawing. */
export const paint = (hue: Hue): string => (hue === "text" ? "currentColor" : `var(--it-${hue},${hues[hue]})`);

/** Text and paper of drawings that stand alone. */
export const themes: Readonly<Record<"light" | "dark", { readonly text: string; readonly paper: string }>> = {
  light: { text: "#1f2328", paper: "#ffffff" },
  dark: { text: "#e6edf3", paper: "#0d1117" },
};

/** Fonts of text and of columns of text. */
export const sans =
  "system-ui,-apple-system,'Segoe UI','Helvetica Neue',Arial,'Liberation Sans','DejaVu Sans',sans-serif";
export const mono = "ui-monospace,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace";

const line = "1px solid color-mix(in srgb,currentColor 18%,transparent)";

/** The style sheet of all HTML renderings, as a `<style>` element. */
export const displayStyle: string = `<style>
.it-section>:is(h1,h2,h3,h4,h5,h6){margin:1.2em 0 .4em;font:600 1.05em/1.3 ${sans}}
.it-section>p{margin:.4em 0;white-space:pre-line}
.it-scroll{overflow-x:auto;margin:.4em 0 1em}
.it-table{border-collapse:collapse;font:13px/1.45 ${sans};font-variant-numeric:tabular-nums}
.it-table caption{text-align:left;font-weight:600;padding:0 0 .4em}
.it-table :is(th,td){padding:.3em .8em;text-align:left;vertical-align:top;border:0;border-bottom:${line}}
.it-table th{font-weight:600;border-bottom-width:2px;white-space:nowrap}
.it-table .it-number{text-align:right;white-space:pre}
.it-table .it-text{white-space:pre}
.it-table .it-wrap{white-space:pre-line;overflow-wrap:anywhere;min-width:24ch;max-width:80ch}
.it-figure{margin:.4em 0 1em}
.it-figure svg{display:block;max-width:100%;height:auto}
</style>`;

/** The start of a complete drawing: size, name for screen readers, and colours for where nobody else gives them. */
export function svgStart(width: number, height: number, label: string): string {
  const { light, dark } = themes;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" class="it-drawing" role="img" aria-label="${label}" ` +
    `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" fill="currentColor" font-family="${sans}">` +
    `<style>svg:root{color:${light.text};background:${light.paper}}` +
    `@media(prefers-color-scheme:dark){svg:root{color:${dark.text};background:${dark.paper}}}</style>`
  );
}
