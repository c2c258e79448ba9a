/** @file A table that people sort and filter. */
import { escapeText } from "../../analysis/dashboards/card.ts";
import { element } from "./html.ts";

export interface GridColumn<Row> {
  readonly label: string;
  /** More about it, for who hovers over its heading. */
  readonly about?: string;
  /** What to sort by. Numbers start with the largest, text with the first; null comes last. */
  readonly value: (row: Row) => number | string | null;
  /** The cell as HTML; default the value as text. */
  readonly cell?: (row: Row) => string;
  readonly numeric?: boolean;
  /** Long text, cut to two lines. */
  readonly clip?: boolean;
}

export interface GridOptions<Row> {
  readonly caption: string;
  readonly columns: readonly GridColumn<Row>[];
  readonly rows: readonly Row[];
  /** The column that is sorted at the start. Default: the order of the rows. */
  readonly sort?: number;
  /** Text in which the filter looks; without it there is no filter. */
  readonly search?: (row: Row) => string;
  readonly searchLabel?: string;
  /** Rows shown before somebody asks for all. Default 25. */
  readonly page?: number;
}

export interface Grid<Row> {
  readonly element: HTMLElement;
  /** Shows only some rows, beside what the filter does. */
  restrict(keep: (row: Row) => boolean): void;
}

let grids = 0;

function order(a: number | string | null, b: number | string | null): number {
  if (a === null || b === null) return 0;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

/** The first column heads its row. */
export function grid<Row>(options: GridOptions<Row>): Grid<Row> {
  const { caption, columns, rows, search, page = 25 } = options;
  const id = `grid${grids++}`;
  let sorted: { column: number; down: boolean } | undefined =
    options.sort === undefined ? undefined : { column: options.sort, down: columns[options.sort]!.numeric === true };
  let all = false;
  let wanted = "";
  let keep = (row: Row): boolean => row !== undefined;

  const heads = columns
    .map(
      ({ label, about, numeric }, c) =>
        `<th scope="col"${numeric ? ' class="num"' : ""}><button type="button" data-column="${c}"${about === undefined ? "" : ` title="${escapeText(about)}"`}>${escapeText(label)}</button></th>`,
    )
    .join("");
  const filter =
    search === undefined
      ? ""
      : `<label class="hidden" for="${id}-filter">${escapeText(options.searchLabel ?? `Filter ${caption}`)}</label>` +
        `<input type="search" id="${id}-filter" placeholder="Filter" autocomplete="off" spellcheck="false">`;
  const root = element(
    `<div><div class="tools"><b aria-hidden="true">${escapeText(caption)}</b>${filter}<span class="count" role="status"></span></div>` +
      `<div class="scroll" tabindex="0" role="region" aria-label="${escapeText(caption)}"><table class="grid"><caption class="hidden">${escapeText(caption)}</caption><thead><tr>${heads}</tr></thead><tbody></tbody></table></div>` +
      `<button type="button" class="more" hidden></button></div>`,
  );
  const body = root.querySelector("tbody")!;
  const count = root.querySelector<HTMLElement>(".count")!;
  const more = root.querySelector<HTMLButtonElement>(".more")!;
  const texts = new Map<Row, string>();
  const textOf = (row: Row): string => {
    let text = texts.get(row);
    if (text === undefined) texts.set(row, (text = search!(row).toLowerCase()));
    return text;
  };

  const cellOf = (row: Row, { cell, value, numeric, clip }: GridColumn<Row>, c: number): string => {
    const inner = cell ? cell(row) : escapeText(String(value(row) ?? ""));
    const name = [numeric ? "num" : "", clip ? "clip" : ""].filter(Boolean).join(" ");
    const attributes = name === "" ? "" : ` class="${name}"`;
    return c === 0 ? `<th scope="row"${attributes}>${inner}</th>` : `<td${attributes}>${inner}</td>`;
  };

  function draw(): void {
    const words = wanted.split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => keep(row) && words.every((word) => textOf(row).includes(word)));
    if (sorted !== undefined) {
      const { value } = columns[sorted.column]!;
      const sign = sorted.down ? -1 : 1;
      const missing = (row: Row): number => (value(row) === null ? 1 : 0);
      found.sort((a, b) => missing(a) - missing(b) || sign * order(value(a), value(b)));
    }
    const shown = all ? found : found.slice(0, page);
    body.innerHTML = shown
      .map((row) => `<tr>${columns.map((column, c) => cellOf(row, column, c)).join("")}</tr>`)
      .join("");
    root.querySelectorAll("thead th").forEach((th, c) => {
      if (sorted?.column === c) th.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
    const some = shown.length < found.length ? `${shown.length} of ${found.length}` : String(found.length);
    count.textContent = found.length < rows.length ? `${some} shown, ${rows.length} in all` : `${some} rows`;
    count.hidden = search === undefined && found.length === shown.length;
    more.hidden = shown.length >= found.length && !(all && found.length > page);
    more.textContent = all ? `Show the first ${page}` : `Show all ${found.length}`;
  }

  root.querySelector("thead")!.addEventListener("click", (event) => {
    const button = (event.target as Element).closest("button");
    if (button === null) return;
    const column = Number(button.dataset["column"]);
    const first = columns[column]!.numeric === true;
    sorted = { column, down: sorted?.column === column ? !sorted.down : first };
    draw();
  });
  root.querySelector("input")?.addEventListener("input", (event) => {
    wanted = (event.target as HTMLInputElement).value.trim().toLowerCase();
    draw();
  });
  more.addEventListener("click", () => {
    all = !all;
    draw();
  });
  draw();
  return {
    element: root,
    restrict(condition) {
      keep = condition;
      draw();
    },
  };
}
