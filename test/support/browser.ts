/** @file Headless Chromium, for tests of pages. */
import { existsSync } from "node:fs";
import { describe, test } from "vitest";
import { chromium, type Browser } from "playwright-core";

/** Where Debian and its kin have it. */
const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = process.env["CHROMIUM"] ?? places.find((path) => existsSync(path));

const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts a browser of one's own. */
export const launch = (): Promise<Browser> => chromium.launch({ executablePath, args });

/** Tests that need a browser; without one they are skipped, and their title says so. */
export function describeWithBrowser(name: string, body: () => void): void {
  if (executablePath !== undefined) describe(name, body);
  else
    describe.skip(`${name} (skipped: no Chromium; apt-get install chromium, or set CHROMIUM)`, () =>
      test("needs a browser"));
}
