/** @file Results that read well everywhere: tables, figures and sections as data, and their renderings. */
export {
  displayAs,
  displayed,
  isDisplayable,
  type Displayable,
  type HtmlOptions,
  type MimeBundle,
  type PngOptions,
} from "./displayable.ts";
export { Figure } from "./figure.ts";
export type { FigureAxis, FigureSpec, Mark, Series } from "./figureSpec.ts";
export { memoryTable } from "./memoryTable.ts";
export { csvLine, fixed, general } from "./numbers.ts";
export { Section, type SectionItem } from "./section.ts";
export { show } from "./show.ts";
export { displayStyle, type Hue } from "./style.ts";
export { Table, type Cell, type Column } from "./table.ts";
export { escapeHtml } from "./text.ts";
