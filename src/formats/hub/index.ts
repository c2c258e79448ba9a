/** @file Files of the Hugging Face hub by id, and their cache. */
export { hubAbsence, noneOfThisName } from "./absence.ts";
export { hubFile, hubFiles, hubSnapshot, hubSource } from "./hub.ts";
export { type DownloadPlan, type HubOptions, type HubProgress } from "./options.ts";
export { parseHubRef, type HubRef } from "./reference.ts";
export { type HubFile } from "./api.ts";
export { defaultCacheDir } from "./settings.ts";
export { browserStore, type BrowserStoreOptions } from "./browserStore.ts";
export { nodeStore, type LinkKind } from "./nodeStore.ts";
export { type HubStore } from "./store.ts";
export { hubUpload, type Uploaded, type UploadOptions, type UploadPlan } from "./upload.ts";
