/** @file Downloads a snapshot in a process of its own: `hubChild.ts ENDPOINT CACHE REPO`. Says when it begins. */
import { hubSnapshot } from "../../src/formats/hub/index.ts";

const [endpoint, cacheDir, repo] = process.argv.slice(2) as [string, string, string];
let told = false;
const { folder } = await hubSnapshot(
  { type: "model", repo },
  {
    endpoint,
    cacheDir,
    token: "",
    offline: false,
    retryDelay: 20,
    onProgress: () => {
      if (!told) console.log("began");
      told = true;
    },
  },
);
console.log(folder);
