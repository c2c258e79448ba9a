/** @file The version of this package. */
export { currentVersion } from "../analysis/version.ts";
