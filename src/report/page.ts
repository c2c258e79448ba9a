/** @file The page around the document: one HTML file that needs nothing else and may load nothing else. */
import { createHash } from "node:crypto";
import { escapeHtml } from "../display/index.ts";
import type { ReportData } from "./data.ts";
import { pageScript } from "./script.ts";
import { pageStyle } from "./style.ts";

const hashOf = (text: string): string => `'sha256-${createHash("sha256").update(text, "utf8").digest("base64")}'`;

/** JSON that no HTML parser reads as anything else. Fractions are cut to five digits: they are for reading. */
export function embeddedJson(value: unknown): string {
  const text = JSON.stringify(value, (_key, item: unknown) =>
    typeof item === "number" && !Number.isInteger(item) ? Number(item.toPrecision(5)) : item,
  );
  return text.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The file of a report. */
export async function pageHtml(data: ReportData): Promise<string> {
  const script = await pageScript();
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(pageStyle)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${escapeHtml(data.title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<a class="skip" href="#overview">Skip to the results</a>
<div class="frame">
<header class="top"><div><h1>${escapeHtml(data.title)}</h1><dl class="facts">${data.facts
    .map(([label, value]) => `<div><dt>${escapeHtml(label)}</dt><dd>${escapeHtml(value)}</dd></div>`)
    .join("")}</dl></div><button type="button" class="theme">Dark</button></header>
<nav class="toc" aria-label="Sections"></nav>
<main><noscript><p>This page draws its tables and plots with the script that it contains; scripts are turned off here.</p></noscript></main>
<footer>Made by Interpretune. This file is complete: it loads nothing.</footer>
</div>
<dialog aria-labelledby="sheet-title"></dialog>
<script type="application/json" id="report">${embeddedJson(data)}</script>
<script>${script}</script>
</body>
</html>
`;
}
