import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { failure, thrown } from "../../../test/support/failure.ts";
import { smallDisk, type SmallDisk } from "../../../test/support/smallDisk.ts";
import { FormatError } from "../errors.ts";
import { makeFolderAtOnce, replaceFileAtOnce } from "./atOnce.ts";
import { writeFileAtomic } from "./atomicFile.ts";
import { makeFolder } from "./folder.ts";
import { systemCode, systemMessage } from "./systemError.ts";

let folder: string;
let disk: SmallDisk | undefined;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-disk-"));
  disk = smallDisk(join(folder, "disk"), "1m");
});
afterEach(() => disk?.empty());
afterAll(() => {
  disk?.unmount();
  rmSync(folder, { recursive: true });
});
const at = (...path: string[]): string => join(folder, ...path);

/** Ways to write a file as a whole; the first waits for the disk. */
const writers = {
  writeFileAtomic,
  replaceFileAtOnce: async (file: string, text: string) => replaceFileAtOnce(file, text),
};

describe.each(Object.entries(writers))("%s", (name, write) => {
  it("replaces a file as a whole and leaves nothing beside it", async () => {
    mkdirSync(at(name));
    for (const text of ["one", "the second, longer"]) {
      await write(at(name, "file"), text);
      expect(readFileSync(at(name, "file"), "utf8")).toBe(text);
    }
    expect(readdirSync(at(name))).toEqual(["file"]);
  });

  it("leaves a file as it was where the disk is full", async (context) => {
    if (disk === undefined) return context.skip();
    const file = join(disk.path, name);
    await write(file, "before");
    disk.fill();
    expect(systemCode(await failure(Error, write(file, "x".repeat(100_000))))).toBe("ENOSPC");
    disk.empty();
    expect(readFileSync(file, "utf8")).toBe("before");
    expect(readdirSync(disk.path).filter((each) => each.endsWith(".tmp"))).toEqual([]);
  });

  it("says that a disk is read-only", async (context) => {
    if (disk === undefined) return context.skip();
    const file = join(disk.path, `${name}-kept`);
    await write(file, "before");
    disk.readOnly();
    try {
      const error = await failure(Error, write(file, "after"));
      expect(systemCode(error)).toBe("EROFS");
      expect(systemMessage(error)).toBe("EROFS: read-only file system");
    } finally {
      disk.writable();
    }
    expect(readFileSync(file, "utf8")).toBe("before");
  });

  it("does not replace a folder, and leaves nothing beside it", async () => {
    const taken = at(`${name}-taken`, "folder");
    mkdirSync(taken, { recursive: true });
    expect(systemCode(await failure(Error, write(taken, "text")))).toBe("EISDIR");
    expect(readdirSync(at(`${name}-taken`))).toEqual(["folder"]);
  });

  it("makes no folder", async () => {
    expect(systemCode(await failure(Error, write(at("nowhere", "file"), "text")))).toBe("ENOENT");
  });
});

describe("writeFileAtomic", () => {
  it("takes a text, bytes, and pieces of them", async () => {
    const bytes = Uint8Array.of(104, 195, 164);
    const pieces = [bytes.subarray(0, 1), bytes.subarray(1)];
    const later = async function* () {
      for (const piece of pieces) yield await Promise.resolve(piece);
    };
    for (const [i, content] of ["hä", bytes, pieces, later()].entries()) {
      await writeFileAtomic(at(`content${i}`), content);
      expect(readFileSync(at(`content${i}`), "utf8")).toBe("hä");
    }
  });

  it("tells of the file where the system fails, and passes on what its pieces throw", async () => {
    const file = at("none", "file");
    const { code, where, received } = await failure(FormatError, writeFileAtomic(file, "text"));
    expect([code, where, received]).toEqual(["formats/not-found", file, "no such file"]);
    const broken = async function* () {
      yield await Promise.resolve(Uint8Array.of(1));
      throw new RangeError("broken off");
    };
    await expect(writeFileAtomic(at("broken"), broken())).rejects.toThrow(new RangeError("broken off"));
    expect(readdirSync(folder).filter((name) => name.startsWith("broken"))).toEqual([]);
  });
});

/** Ways to make a folder. */
const makers = { makeFolder, makeFolderAtOnce: async (path: string) => void makeFolderAtOnce(path) };

describe.each(Object.entries(makers))("%s", (name, make) => {
  it("makes a folder and those above it, also where they are there", async () => {
    for (let again = 0; again < 2; again++) await make(at(name, "made", "below"));
    mkdirSync(at(`${name}-real`));
    symlinkSync(at(`${name}-real`), at(`${name}-link`));
    await make(at(`${name}-link`, "behind"));
    expect([at(name, "made", "below"), at(`${name}-real`, "behind")].map((path) => existsSync(path))).toEqual([
      true,
      true,
    ]);
  });

  it("is done when many ask for the same one", async () => {
    await Promise.all(Array.from({ length: 8 }, () => make(at(`${name}-many`, "a", "b", "c"))));
    expect(existsSync(at(`${name}-many`, "a", "b", "c"))).toBe(true);
  });

  it("says that a file is in the way", async () => {
    writeFileSync(at(`${name}-file`), "");
    for (const path of [[], ["below"], ["below", "deeper"]]) {
      const { code, where, cause } = await failure(FormatError, make(at(`${name}-file`, ...path)));
      expect([code, where, systemCode(cause)]).toEqual(["formats/folder", at(`${name}-file`, ...path), "EEXIST"]);
    }
  });

  it("says that a disk is read-only", async (context) => {
    if (disk === undefined) return context.skip();
    disk.readOnly();
    try {
      expect((await failure(FormatError, make(join(disk.path, "a", "b")))).received).toBe(
        "EROFS: read-only file system",
      );
    } finally {
      disk.writable();
    }
  });

  it.skipIf(!existsSync("/proc/self"))("comes back where the system makes none, as below /proc", async () => {
    for (const path of ["/proc/interpretune", "/proc/interpretune/logs", "/proc/self/interpretune/logs"])
      expect((await failure(FormatError, make(path))).where).toBe(path);
  });
});

it("a folder that was made at once is told, from the top", () => {
  expect(makeFolderAtOnce(at("top", "below"))).toEqual([at("top"), at("top", "below")]);
  expect(makeFolderAtOnce(at("top", "below"))).toEqual([]);
  writeFileSync(at("top", "file"), "");
  expect(thrown(FormatError, () => makeFolderAtOnce(at("top", "file"))).hint).toContain("give another path");
});
