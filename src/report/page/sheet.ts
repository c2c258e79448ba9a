/** @file The sheet at the side: a latent's card or an example, opened by links `#latent/…` and `#example/…`. */
import { element } from "./html.ts";

/** What a link opens. */
export interface SheetContent {
  readonly name: string;
  readonly body: HTMLElement;
  /** Links to the neighbours in the order in which things are listed. */
  readonly previous?: string;
  readonly next?: string;
}

/** Opens what the address says, now and whenever it changes. */
export function sheet(dialog: HTMLDialogElement, contentOf: (hash: string) => SheetContent | undefined): void {
  let opener: Element | null = null;

  function show(): void {
    const content = contentOf(location.hash);
    if (content === undefined) {
      if (dialog.open) dialog.close();
      return;
    }
    const { name, body, previous, next } = content;
    const bar = element(
      `<div class="bar"><span class="name"></span>` +
        `<button type="button" data-go="${previous ?? ""}"${previous === undefined ? " disabled" : ""}>Previous</button>` +
        `<button type="button" data-go="${next ?? ""}"${next === undefined ? " disabled" : ""}>Next</button>` +
        `<button type="button" data-close>Close</button></div>`,
    );
    bar.querySelector(".name")!.textContent = name;
    const inside = document.createElement("div");
    inside.className = "sheet";
    inside.append(body);
    const heading = body.querySelector<HTMLElement>("h2");
    heading?.setAttribute("id", "sheet-title");
    heading?.setAttribute("tabindex", "-1");
    if (!dialog.open) opener = document.activeElement;
    dialog.replaceChildren(bar, inside);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    heading?.focus();
  }

  dialog.addEventListener("click", (event) => {
    const target = event.target as Element;
    // The backdrop is the dialog itself.
    if (target === dialog || target.closest("[data-close]") !== null) dialog.close();
    const go = target.closest<HTMLElement>("[data-go]")?.dataset["go"];
    if (go !== undefined && go !== "") location.hash = go;
  });
  dialog.addEventListener("close", () => {
    if (contentOf(location.hash) !== undefined) history.replaceState(null, "", location.pathname + location.search);
    if (opener instanceof HTMLElement) opener.focus({ preventScroll: true });
  });
  addEventListener("hashchange", show);
  show();
}
