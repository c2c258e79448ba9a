import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failure } from "../../../test/support/failure.ts";
import { randomModel, shapes } from "../../../test/support/random.ts";
import { DataError } from "../../data/index.ts";
import { InterpretuneError } from "../../graph/errors.ts";
import { ModelError } from "../../model/index.ts";
import type { SessionOverrides } from "../compose/overrides.ts";
import { SessionError } from "../errors.ts";
import { Session } from "../session.ts";

const model = randomModel({ ...shapes["gpt2"]!, n_layers: 1 }, 1);
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-places-"));
  mkdirSync(join(folder, "empty"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What a session of a file ends with, whether it is made or its rows are read. */
function fault(lines: readonly string[], overrides: SessionOverrides): Promise<InterpretuneError> {
  const file = join(folder, "session.yaml");
  writeFileSync(file, `${lines.join("\n")}\n`);
  const given = { env: { HF_HUB_OFFLINE: "1" }, logStream: null, ...overrides };
  return failure(InterpretuneError, async () => {
    const session = await Session.fromConfig(file, { ...given, set: [["core-log-dir", join(folder, "logs")]] });
    for await (const _ of session.datamodule.batches("validation"));
  });
}

const data = (line: string): string[] => ["registered_cfg:", "  datamodule_cfg:", `    ${line}`];
const module = (...more: string[]): string[] => [
  "registered_cfg:",
  "  module_cfg:",
  ...more.map((line) => `    ${line}`),
];

describe("what a file names and is not there is told with file, line and column", () => {
  const named: Record<string, [lines: string[], place: string, received: string]> = {
    "a model": [["shared_config:", "  model_name_or_path: ./none"], "2:23", "./none"],
    "a side's own model": [module("model_name_or_path: ./none"), "3:25", "./none"],
    "a tokenizer": [["shared_config:", "  model_name_or_path: ./other", "  tokenizer_name: ./none"], "3:19", "./none"],
    "a component": [["components:", "  - ./none"], "2:5", "./none"],
  };
  it.each(Object.entries(named))("%s", async (_, [lines, place, received]) => {
    const error = await fault(lines, {});
    expect(error).toBeInstanceOf(SessionError);
    expect(error).toMatchObject({
      code: "session/not-found",
      where: `${join(folder, "session.yaml")}:${place}`,
      received,
    });
    expect(error.cause).toBeInstanceOf(InterpretuneError);
  });

  const withModel: typeof named = {
    "a file of rows": [data("dataset_path: ./none.jsonl"), "3:19", "./none.jsonl"],
    "a split's own file": [data("data_files: { validation: ./none.jsonl }"), "3:31", "./none.jsonl"],
    "an SAE": [["adapter_ctx: [core, sae_lens]", ...module("sae_cfgs:", "  - path: ./none")], "5:15", "./none"],
    "a release's SAE": [
      ["adapter_ctx: [core, sae_lens]", ...module("sae_cfgs:", "  - { release: ./none, sae_id: blocks.0 }")],
      "5:36",
      "blocks.0",
    ],
    adapters: [module("hf_from_pretrained_cfg: { lora_cfg: { path: ./none } }"), "3:49", "./none"],
  };
  it.each(Object.entries(withModel))("%s", async (_, [lines, place, received]) => {
    expect(await fault(lines, { model })).toMatchObject({
      code: "session/not-found",
      where: `${join(folder, "session.yaml")}:${place}`,
      received,
    });
  });

  it("also a folder without the split", async () => {
    const error = await fault(data(`dataset_path: ${join(folder, "empty")}`), { model });
    expect(error.where).toBe(`${join(folder, "session.yaml")}:3:19`);
    expect(error.message).toContain("there is no file for the split validation");
  });
});

it("what TypeScript gives instead stands in no file", async () => {
  const lines = ["shared_config:", "  model_name_or_path: ./other"];
  const error = await fault(lines, { model: "./none" });
  expect(error).toBeInstanceOf(ModelError);
  expect(error.where).toBe("./none");
  const rows = await fault([...lines, ...data("dataset_path: ./other.jsonl")], { model, data: "./none.jsonl" });
  expect(rows).toBeInstanceOf(DataError);
  expect(rows.where).toBe("./none.jsonl");
});

it("what is there and cannot be read is told by itself", async () => {
  writeFileSync(join(folder, "bad.jsonl"), "{\n");
  const error = await fault(data(`dataset_path: ${join(folder, "bad.jsonl")}`), { model });
  expect(error).toBeInstanceOf(DataError);
  expect(error.where).toContain("bad.jsonl");
});
