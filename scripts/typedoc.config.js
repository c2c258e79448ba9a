/** `npm run docs` writes the reference of every public name to docs/reference, from the docstrings. */
import { OptionDefaults } from "typedoc";

const rooms = [
  "graph",
  "runtime",
  "formats",
  "display",
  "model",
  "sae",
  "data",
  "train",
  "session",
  "analysis",
  "report",
  "cli",
];

/** @type {Partial<import("typedoc").TypeDocOptions>} */
export default {
  entryPoints: ["../src/index.ts", ...rooms.map((room) => `../src/${room}/index.ts`)],
  tsconfig: "../tsconfig.build.json",
  out: "../docs/reference",
  readme: "../README.md",
  blockTags: [...OptionDefaults.blockTags, "@file"],
  excludeInternal: true,
  excludePrivate: true,
  disableSources: true,
  treatWarningsAsErrors: true,
  // README links to folders, which a page cannot show.
  validation: { notExported: false, invalidLink: true, invalidPath: false, notDocumented: false },
};
