/** Files of the hub by id: what is asked, what comes, where it lies. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import {
  hubFile,
  hubFiles,
  hubSnapshot,
  hubSource,
  nodeStore,
  type DownloadPlan,
  type HubProgress,
} from "../src/formats/index.ts";
import { hubFixture, laidOut, newFolder, noise } from "./support/hubFixture.ts";

const model = { type: "model", repo: "owner/name" } as const;
const weights = noise(300_000);
const sha256 = createHash("sha256").update(weights).digest("hex");
const files = { "config.json": '{"n": 1}', "README.md": "read me", "deep/er/model.safetensors": weights };

describe("a file", () => {
  test("comes once, under its commit, linked to a blob named by its hash", async () => {
    const { hub, options, cacheDir } = await hubFixture();
    const commit = hub.add({ id: "owner/name", files });
    const path = await hubFile(model, "deep/er/model.safetensors", options);
    expect(path).toBe(join(cacheDir, `models--owner--name/snapshots/${commit}/deep/er/model.safetensors`));
    expect(readlinkSync(path)).toBe(`../../../../blobs/${sha256}`);
    expect(weights.equals(readFileSync(path))).toBe(true);
    expect(readFileSync(join(cacheDir, "models--owner--name/refs/main"), "utf8")).toBe(commit);
    const small = await hubFile(model, "config.json", options);
    const text = files["config.json"];
    expect(basename(readlinkSync(small))).toBe(createHash("sha1").update(`blob ${text.length}\0${text}`).digest("hex"));

    hub.recent();
    expect(await hubFile(model, "deep/er/model.safetensors", options)).toBe(path);
    expect(hub.recent()).toEqual(["hub HEAD owner/name/resolve/main/deep/er/model.safetensors"]);
    expect(await hubFile({ ...model, revision: commit }, "deep/er/model.safetensors", options)).toBe(path);
    expect(hub.recent()).toEqual([]);
  });

  test("by branch, tag, commit, with characters of all kinds, of no bytes", async () => {
    const { hub, options } = await hubFixture();
    const names = { "a b#c?d%20.txt": "1", "ünïcode/ß.txt": "2", "empty.txt": "", "empty.bin": "" };
    const old = hub.add({ id: "owner/name", files: names, refs: ["main"] });
    const branch = hub.add({ id: "owner/other", files: names, refs: ["feature/x", "v1.0", "refs/pr/7"] });
    for (const [name, content] of Object.entries(names))
      expect(readFileSync(await hubFile(model, name, options), "utf8")).toBe(content);
    for (const revision of ["feature/x", "v1.0", "refs/pr/7", branch]) {
      const path = await hubFile({ type: "model", repo: "owner/other", revision }, "empty.txt", options);
      expect(path).toContain(`/snapshots/${branch}/`);
      const ref = join(options.cacheDir, "models--owner--other/refs", revision);
      expect(existsSync(ref) && readFileSync(ref, "utf8")).toBe(revision === branch ? false : branch);
    }
    const moved = hub.add({ id: "owner/name", files: { ...names, "empty.txt": "full" } });
    expect(moved).not.toBe(old);
    expect(readFileSync(await hubFile(model, "empty.txt", options), "utf8")).toBe("full");
    expect(readFileSync(await hubFile({ ...model, revision: old }, "empty.txt", options), "utf8")).toBe("");
  });

  test("of a data set, and under an old name", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "aps/super_glue", type: "dataset", files: { "rte/validation.parquet": weights } });
    hub.add({ id: "openai-community/gpt2", files, aliases: ["gpt2"] });
    const data = await hubFile({ type: "dataset", repo: "aps/super_glue" }, "rte/validation.parquet", options);
    expect(data).toContain("/datasets--aps--super_glue/snapshots/");
    const gpt2 = { type: "model", repo: "gpt2" } as const;
    const { folder } = await hubSnapshot(gpt2, options);
    expect(folder).toContain("/models--gpt2/snapshots/");
    expect(readFileSync(join(folder, "config.json"), "utf8")).toBe(files["config.json"]);
    expect(weights.equals(readFileSync(await hubFile(gpt2, "deep/er/model.safetensors", options)))).toBe(true);
  });

  test("is on its way once only, however many ask", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "owner/name", files });
    const path = "deep/er/model.safetensors";
    const paths = await Promise.all(Array.from({ length: 5 }, () => hubFile(model, path, options)));
    expect(new Set(paths).size).toBe(1);
    expect(hub.requests.filter(({ server }) => server === "cdn")).toHaveLength(1);
  });

  test("is copied where there are no links", async () => {
    const { hub, options, cacheDir } = await hubFixture();
    hub.add({ id: "owner/name", files });
    for (const [i, links] of [["hard"], ["copy"]].entries()) {
      const dir = join(cacheDir, String(i));
      const store = await nodeStore(dir, { links: links as ["hard"] | ["copy"] });
      const path = await hubFile(model, "config.json", { ...options, store });
      expect(readFileSync(path, "utf8")).toBe(files["config.json"]);
      expect(statSync(path).nlink).toBe(i === 0 ? 2 : 1);
      hub.recent();
      expect(await hubFile(model, "config.json", { ...options, store, offline: true })).toBe(path);
      expect((await hubSnapshot(model, { ...options, store })).files).toHaveLength(3);
      expect(hub.recent().some((line) => line.includes("config.json"))).toBe(false);
    }
  });

  test("comes again where what is there is damaged or gone", async () => {
    const { hub, options, cacheDir } = await hubFixture();
    hub.add({ id: "owner/name", files });
    const path = await hubFile(model, "deep/er/model.safetensors", options);
    const blob = join(cacheDir, "models--owner--name/blobs", sha256);
    writeFileSync(blob, "cut");
    expect(weights.equals(readFileSync(await hubFile(model, "deep/er/model.safetensors", options)))).toBe(true);
    const { rmSync } = await import("node:fs");
    rmSync(blob);
    expect(weights.equals(readFileSync(await hubFile(model, "deep/er/model.safetensors", options)))).toBe(true);
    expect(readlinkSync(path)).toBe(`../../../../blobs/${sha256}`);
  });
});

test("a cache that cannot be written to says which variable names another", async () => {
  const { hub, options } = await hubFixture();
  hub.add({ id: "owner/name", files });
  const inTheWay = join(newFolder(), "file");
  writeFileSync(inTheWay, "");
  await expect(hubFile(model, "config.json", { ...options, cacheDir: inTheWay })).rejects.toMatchObject({
    message: expect.stringContaining("the cache cannot be written") as string,
    hint: expect.stringContaining("HF_HUB_CACHE") as string,
  });
});

describe("a snapshot", () => {
  const many = {
    ...Object.fromEntries(Array.from({ length: 45 }, (_, i) => [`params/${i}/params.npz`, `params ${i}`])),
    "a.json": "1",
    "b.json": "2",
    "sub/c.json": "1",
    "x.txt": "x",
  };

  test("has the files that patterns name, from a listing of many pages", async () => {
    const { hub, options } = await hubFixture({ pageSize: 7 });
    hub.add({ id: "owner/name", files: many });
    const patterns = ["*.json", "params/1[0-2]/", "?.txt"];
    const { files, folder, commit } = await hubSnapshot(model, { ...options, patterns });
    const expected = ["a.json", "b.json", "sub/c.json", "x.txt", ...[10, 11, 12].map((i) => `params/${i}/params.npz`)];
    expect(files.toSorted()).toEqual(expected.toSorted());
    for (const path of files) expect(readFileSync(join(folder, path), "utf8")).toBe(many[path as keyof typeof many]);
    expect(laidOut(folder)).toHaveLength(files.length);
    expect((await hubFiles(model, options)).files).toHaveLength(49);

    hub.recent();
    expect((await hubSnapshot({ ...model, revision: commit }, { ...options, patterns })).folder).toBe(folder);
    expect(hub.recent()).toEqual([]); // the list of a commit is kept
    await expect(hubSnapshot(model, { ...options, patterns: ["*.gguf"] })).rejects.toMatchObject({
      code: "hub/entry-not-found",
      received: expect.stringMatching(/^49 files, such as /) as string,
    });
  });

  test("brings four files at once, the same content once, and tells how far it is", async () => {
    const { hub, options } = await hubFixture();
    const large = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`${i}.bin`, noise(200_000, i % 8)]));
    hub.add({ id: "owner/name", files: large });
    let open = 0;
    let most = 0;
    hub.fault = ({ server }) => {
      if (server === "cdn") most = Math.max(most, ++open);
      return { slow: 2 };
    };
    const plans: DownloadPlan[] = [];
    const steps: HubProgress[] = [];
    let done = 0;
    const onProgress = (step: HubProgress): void => {
      if (step.filesDone > done) open -= step.filesDone - done;
      done = step.filesDone;
      steps.push(step);
    };
    const { commit } = await hubSnapshot(model, { ...options, onPlan: (plan) => plans.push(plan), onProgress });
    expect(most).toBe(4);
    expect(hub.requests.filter(({ server }) => server === "cdn")).toHaveLength(8);
    expect(plans).toMatchObject([{ repo: "owner/name", commit, totalBytes: 1_600_000, haveBytes: 0 }]);
    expect(plans[0]!.freeBytes).toBeGreaterThan(1e6);
    expect(plans[0]!.files.map(({ size, have }) => [size, have])).toEqual(Array(8).fill([200_000, 0]));
    expect(steps.at(-1)).toMatchObject({ bytes: 1_600_000, totalBytes: 1_600_000, filesDone: 8, files: 8, resumed: 0 });
    expect(steps.every(({ bytes }, i) => i === 0 || bytes >= steps[i - 1]!.bytes)).toBe(true);
    await hubSnapshot(model, { ...options, onPlan: (plan) => plans.push(plan) });
    expect(plans).toHaveLength(1); // nothing to come, nothing to say
  });

  test("stops before it starts where there is no room, or the plan is refused", async () => {
    const { hub, options, cacheDir } = await hubFixture();
    hub.add({ id: "owner/name", files });
    const store = { ...(await nodeStore(cacheDir)), freeBytes: () => Promise.resolve(300_001) };
    await expect(hubSnapshot(model, { ...options, store })).rejects.toMatchObject({
      code: "hub/disk-full",
      expected: "300015 bytes free",
      received: "300001 bytes",
    });
    const onPlan = (): never => {
      throw new Error("too much");
    };
    await expect(hubSnapshot(model, { ...options, onPlan })).rejects.toThrow("too much");
    expect(hub.requests.filter(({ path }) => path.includes("resolve"))).toEqual([]);
  });
});

describe("a source", () => {
  test("asks for the ranges that are read, and reads from the cache what is there", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "owner/name", files });
    const source = await hubSource(model, "deep/er/model.safetensors", options);
    expect(source.byteLength).toBe(weights.length);
    expect(new Uint8Array(await source.slice(1000, 1100))).toEqual(new Uint8Array(weights.slice(1000, 1100)));
    expect(new Uint8Array(await source.slice(299_990))).toEqual(new Uint8Array(weights.slice(299_990)));
    expect(hub.requests.map(({ range }) => range).filter(Boolean)).toEqual(
      ["bytes=1000-1099", "bytes=1000-1099", "bytes=299990-299999", "bytes=299990-299999"], // hub, then the store
    );
    await hubFile(model, "deep/er/model.safetensors", options);
    hub.recent();
    const cached = await hubSource(model, "deep/er/model.safetensors", options);
    expect(new Uint8Array(await cached.slice(5, 50))).toEqual(new Uint8Array(weights.slice(5, 50)));
    await cached.close();
    expect(hub.recent()).toEqual(["hub HEAD owner/name/resolve/main/deep/er/model.safetensors"]);
    hub.fault = ({ server }) => (server === "cdn" ? { cutAfter: 700 } : undefined);
    expect(new Uint8Array(await source.slice(0, 2000))).toEqual(new Uint8Array(weights.slice(0, 2000)));
  });
});

describe("without the hub", () => {
  test("what is in the cache is used; what is not says so", async () => {
    const { hub, options, cacheDir } = await hubFixture();
    hub.add({ id: "owner/name", files });
    const { folder, commit } = await hubSnapshot(model, options);
    await expect(hubFile(model, "nope.json", options)).rejects.toMatchObject({ code: "hub/entry-not-found" });
    hub.recent();
    const offline = { ...options, offline: true };
    expect(await hubFile(model, "config.json", offline)).toBe(join(folder, "config.json"));
    expect(await hubSnapshot(model, offline)).toMatchObject({ folder, commit });
    expect((await hubFiles(model, offline)).files).toHaveLength(3);
    const source = await hubSource(model, "config.json", offline);
    expect(source.byteLength).toBe(8);
    await source.close();
    await expect(hubFile(model, "nope.json", offline)).rejects.toMatchObject({ code: "hub/entry-not-found" });
    await expect(hubFile(model, "other.json", offline)).rejects.toThrow(
      "not in the cache, and the hub may not be asked; in owner/name, other.json (unset HF_HUB_OFFLINE",
    );
    await expect(hubSnapshot({ ...model, revision: "v2" }, offline)).rejects.toMatchObject({ code: "hub/offline" });
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    const { offline: _, ...unsaid } = options;
    await expect(hubFiles({ ...model, revision: "v2" }, unsaid)).rejects.toMatchObject({ code: "hub/offline" });
    vi.unstubAllEnvs();
    expect(hub.recent()).toEqual([]);

    await hub.close();
    expect(await hubFile(model, "config.json", options)).toBe(join(folder, "config.json"));
    expect(await hubSnapshot(model, options)).toMatchObject({ folder, commit });
    await expect(hubFile(model, "other.json", options)).rejects.toMatchObject({
      code: "hub/unavailable",
      hint: expect.stringContaining("HF_HUB_OFFLINE=1") as string,
    });
    // Older clients of Python keep no list of a commit's files: then what lies there is what there is.
    const { rmSync } = await import("node:fs");
    rmSync(join(cacheDir, "models--owner--name/trees"), { recursive: true });
    expect((await hubSnapshot(model, offline)).files.toSorted()).toEqual(Object.keys(files).toSorted());
  });

  test("an incomplete snapshot is none", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "owner/name", files });
    await hubSnapshot(model, { ...options, patterns: ["*.json"] });
    const offline = { ...options, offline: true };
    expect((await hubSnapshot(model, { ...offline, patterns: ["*.json"] })).files).toEqual(["config.json"]);
    await expect(hubSnapshot(model, offline)).rejects.toMatchObject({ code: "hub/offline" });
  });
});

describe("who asks", () => {
  const secret = "hf_abcdefghijklmnopqrstuvwxyz";

  test("the token comes from option, variable or file, and goes to the hub only", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "owner/name", files, private: secret, gated: secret });
    const home = newFolder();
    mkdirSync(join(home, "hub"));
    writeFileSync(join(home, "token"), `${secret}\n`);
    const { endpoint, retryDelay, offline } = options;
    const ways: [Record<string, string>, { token?: string }][] = [
      [{}, { token: secret }],
      [{ HF_TOKEN: secret }, {}],
      [{ HUGGING_FACE_HUB_TOKEN: ` ${secret}\n` }, {}],
      [{ HF_HOME: home }, {}],
      [{ HF_TOKEN_PATH: join(home, "token") }, {}],
    ];
    for (const [variables, given] of ways) {
      const clean = { HF_TOKEN: "", HUGGING_FACE_HUB_TOKEN: "", HF_HOME: newFolder(), HF_HUB_CACHE: newFolder() };
      for (const [name, value] of Object.entries({ ...clean, ...variables })) vi.stubEnv(name, value);
      const path = await hubFile(model, "deep/er/model.safetensors", { endpoint, retryDelay, offline, ...given });
      expect(weights.equals(readFileSync(path))).toBe(true);
      vi.unstubAllEnvs();
    }
    const sent = (server: string): Set<string | undefined> =>
      new Set(hub.requests.filter((each) => each.server === server).map(({ authorization }) => authorization));
    expect(sent("hub")).toEqual(new Set([`Bearer ${secret}`]));
    expect(sent("cdn")).toEqual(new Set([undefined]));
  });

  test("a refusal says what to do and never the token", async () => {
    const { hub, options } = await hubFixture();
    const closed = hub.add({ id: "owner/gated", files, gated: secret });
    hub.add({ id: "owner/private", files, private: secret });
    hub.add({ id: "owner/name", files });
    const ask = async (repo: string, token: string, path = "config.json", revision?: string): Promise<unknown> =>
      hubFile({ type: "model", repo, revision }, path, { ...options, token }).catch((error: unknown) => error);
    const page = `${hub.endpoint}/owner/gated`;
    expect(await ask("owner/gated", "")).toMatchObject({
      code: "hub/gated",
      message: expect.stringContaining(`accept the conditions at ${page}; no token was sent`) as string,
      hint: expect.stringContaining("HF_TOKEN") as string,
    });
    expect(await ask("owner/gated", "hf_other")).toMatchObject({
      code: "hub/gated",
      hint: expect.stringContaining("the token from the option token was sent") as string,
    });
    expect(await ask("owner/gated", "hf_other", "config.json", closed)).toMatchObject({ code: "hub/gated" });
    await expect(hubSnapshot({ type: "model", repo: "owner/gated" }, options)).rejects.toMatchObject({
      code: "hub/gated",
    });
    expect(await ask("owner/private", "")).toMatchObject({ code: "hub/repo-not-found" });
    expect(await ask("owner/private", "hf_other")).toMatchObject({ code: "hub/repo-not-found" });
    expect(await ask("owner/nobody", "")).toMatchObject({
      code: "hub/repo-not-found",
      hint: expect.stringContaining("check its name; for a private one no token was sent: put one") as string,
    });
    expect(await ask("owner/name", "nonsense")).toMatchObject({
      code: "hub/unauthorized",
      hint: "replace or remove the token from the option token",
    });
    expect(await ask("owner/name", "", "config.json", "v9")).toMatchObject({ code: "hub/revision-not-found" });
    expect(await ask("owner/name", "", "nope.json")).toMatchObject({ code: "hub/entry-not-found" });

    const bodies = ["text/plain", "application/json"].flatMap((type) =>
      [403, 418, 500].map((status) => ({
        status,
        headers: { "content-type": type },
        body: `{"error": "no ${secret}"}`,
      })),
    );
    for (const fault of bodies) {
      hub.fault = () => fault;
      const error = await ask("owner/name", secret, "README.md");
      const shown = [String(error), JSON.stringify(error), (error as Error).stack].join();
      expect(shown).not.toContain(secret);
      expect(error).toMatchObject({ received: expect.stringMatching(/^status \d+/) as string });
    }
    const fetch = (): Promise<Response> => Promise.reject(new TypeError(`bad header: Bearer ${secret}`));
    const error: unknown = await hubFile(model, "x", { ...options, token: secret, fetch }).catch((e: unknown) => e);
    expect((error as Error).message).toContain("bad header: Bearer (token)");
  });

  test("an endpoint that is no address and a token that is none are told at once, without showing them", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "owner/name", files });
    for (const endpoint of ["not an address", "ftp://hub", `http://user:${secret}@${hub.endpoint.slice(7)}`]) {
      const error: unknown = await hubFile(model, "config.json", { ...options, endpoint }).catch((e: unknown) => e);
      expect(error).toMatchObject({ code: "hub/endpoint", where: expect.stringContaining("HF_ENDPOINT") as string });
      expect(String(error)).not.toContain(secret);
    }
    for (const token of [`${secret}€`, "hf_two words"]) {
      const error: unknown = await hubFile(model, "config.json", { ...options, token }).catch((e: unknown) => e);
      expect(error).toMatchObject({ code: "hub/unauthorized", where: "the option token" });
      expect(String(error)).not.toContain(token);
    }
    expect(hub.requests).toEqual([]);
  });

  test("a listing does not lead elsewhere", async () => {
    const { hub, options } = await hubFixture({ pageSize: 2 });
    const commit = hub.add({ id: "owner/name", files });
    const elsewhere = await hubFixture();
    const next = [`${elsewhere.hub.endpoint}/api/models/owner/name/tree/${commit}`, ""];
    for (const address of next) {
      hub.fault = ({ path }) =>
        path.includes("/tree/")
          ? {
              status: 200,
              body: "[]",
              headers: { link: `<${address || `${hub.endpoint}/api/models/owner/name/tree/x`}>; rel="next"` },
            }
          : undefined;
      await expect(hubFiles(model, { ...options, token: secret })).rejects.toMatchObject({
        code: "hub/invalid-answer",
      });
    }
    expect(elsewhere.hub.requests).toEqual([]);
  });

  test("nothing leaves the cache's folder", async () => {
    const { hub, options, cacheDir } = await hubFixture();
    hub.add({ id: "owner/name", files });
    for (const path of ["../x", "/etc/passwd", "a/../../../x", "a//b", "", ".", "a/."])
      await expect(hubFile(model, path, options)).rejects.toMatchObject({ code: "hub/invalid-path" });
    for (const revision of ["..", "../main", "a/../b", "/main", "", "a//b"])
      await expect(hubFile({ ...model, revision }, "x", options)).rejects.toMatchObject({ code: "hub/invalid-ref" });
    for (const repo of ["../x", "a/b/c", "a--b/c", "a/..", "a/b.git", "/a", "a/"])
      await expect(hubFiles({ type: "model", repo }, options)).rejects.toMatchObject({ code: "hub/invalid-ref" });
    expect(hub.requests).toEqual([]);
    const listed = { type: "file", size: 1, oid: "0".repeat(40) };
    for (const path of ["../../../../x", "/x", "a/../../x", "..\0"]) {
      hub.fault = (request) =>
        request.path.includes("/tree/") ? { status: 200, body: JSON.stringify([{ ...listed, path }]) } : undefined;
      await expect(hubSnapshot(model, options)).rejects.toMatchObject({ code: "hub/invalid-answer" });
    }
    hub.fault = () => undefined;
    const cache = newFolder();
    const { commit } = await hubSnapshot(model, { ...options, cacheDir: cache });
    const tree = join(cache, "models--owner--name/trees", `${commit}.json`);
    const kept = readFileSync(tree, "utf8");
    const { oid } = listed;
    for (const bad of [
      kept.replace("README.md", "../../../../x"),
      kept.replace(/"blob_id": "\w+"/, `"blob_id": "../${oid}"`),
    ]) {
      expect(bad).not.toBe(kept);
      writeFileSync(tree, bad);
      const { files: found } = await hubSnapshot(model, { ...options, cacheDir: cache, offline: true });
      expect(found).toEqual(Object.keys(files).sort()); // what lies there, not what the list says
    }
    for (const etag of ["../../x", "", "a/b", '"..\\x"']) {
      const headers = { "x-repo-commit": "0".repeat(40), "x-linked-etag": etag, "x-linked-size": "1" };
      hub.fault = ({ method }) => (method === "HEAD" ? { status: 200, headers } : undefined);
      await expect(hubFile(model, "x", options)).rejects.toMatchObject({ code: "hub/invalid-answer" });
    }
    expect(laidOut(cacheDir)).toEqual([]);
  });
});
