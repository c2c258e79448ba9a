/** `npm run docs` writes the reference of every public name to docs/reference, from the docstrings. */
import { OptionDefaults } from "typedoc";
import packageJson from "../package.json" with { type: "json" };

/** The sources behind the package's doors. */
const doors = Object.values(packageJson.exports)
  .filter((target) => typeof target !== "string")
  .map((target) => target.default.replace("./dist/", "../src/").replace(/\.js$/, ".ts"));

/** @type {Partial<import("typedoc").TypeDocOptions>} */
export default {
  entryPoints: doors,
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
