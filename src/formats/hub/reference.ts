/** @file What names a repository on the hub, and the names its parts have in the cache. */
import { FormatError, quoted } from "../errors.ts";

/** A repository of the hub at a revision. */
export interface HubRef {
  readonly type: "model" | "dataset";
  /** `owner/name`, or one of the few old names without an owner, such as `gpt2`. */
  readonly repo: string;
  /** A branch, a tag or a commit. Default `main`. */
  readonly revision?: string;
}

/** Python's rules for names: letters, digits, `-`, `_` and `.`; none at the ends but letters, digits and `_`. */
const idPattern = /^(\w[\w.-]{0,94}\w?\/)?(?![.-])[\w.-]{1,96}(?<![.-])$/;
const revisionPattern = /^[\w][\w.+/-]{0,254}$/;

/**
 * The repository that a text such as `openai-community/gpt2`, `gpt2` or `gpt2@v1.0` names; undefined where it cannot be
 * one: a path, a file name, anything with characters that the hub does not allow.
 *
 * @example
 * ```ts
 * console.log(parseHubRef("aps/super_glue@3de24cf", "dataset")?.revision); // 3de24cf
 * console.log(parseHubRef("./models/gpt2", "model")); // undefined
 * ```
 */
export function parseHubRef(text: string, type: HubRef["type"]): HubRef | undefined {
  const at = text.indexOf("@");
  const repo = at < 0 ? text : text.slice(0, at);
  const revision = at < 0 ? undefined : text.slice(at + 1);
  if (!isRepo(repo) || (revision !== undefined && !isRevision(revision))) return undefined;
  return revision === undefined ? { type, repo } : { type, repo, revision };
}

function isRepo(repo: string): boolean {
  return repo.length <= 96 && idPattern.test(repo) && !/--|\.\.|\.git$/.test(repo);
}

/** Revisions become file names below `refs/`: nothing may lead out of there. */
function isRevision(revision: string): boolean {
  return revisionPattern.test(revision) && revision.split("/").every((part) => !/^\.*$/.test(part));
}

/** Refs come from programs, too: what could leave the cache's folder stops here. */
export function checkRef({ type, repo, revision = defaultRevision }: HubRef): void {
  const problem = !isRepo(repo)
    ? ["owner/name", repo]
    : !isRevision(revision)
      ? ["a branch, a tag or a commit", revision]
      : type !== "model" && type !== "dataset"
        ? ["a model or a dataset", String(type)]
        : undefined;
  if (problem)
    throw new FormatError("this does not name a repository of the hub", {
      code: "hub/invalid-ref",
      expected: problem[0],
      received: quoted(problem[1]!),
    });
}

/** Paths of files come from servers and from programs: relative, with `/`, and never out of their folder. */
export function isRepoPath(path: string): boolean {
  const windows = typeof process !== "undefined" && process.platform === "win32";
  if (path.length > 1024 || path.includes("\0") || (windows && /[\\:]/.test(path))) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

export function checkPath(path: string): void {
  if (!isRepoPath(path))
    throw new FormatError("this does not name a file of a repository", {
      code: "hub/invalid-path",
      expected: "a relative path with / between its parts",
      received: quoted(path),
    });
}

export const defaultRevision = "main";

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** The repository's folder in the cache: `models--openai-community--gpt2`. */
export const repoFolder = ({ type, repo }: HubRef): string => [`${type}s`, ...repo.split("/")].join("--");

/** The repository's page, and the start of its files' addresses. */
export const repoUrl = (endpoint: string, { type, repo }: HubRef): string =>
  `${endpoint}/${type === "model" ? "" : `${type}s/`}${repo}`;

export const fileUrl = (endpoint: string, ref: HubRef, revision: string, path: string): string =>
  `${repoUrl(endpoint, ref)}/resolve/${encodeURIComponent(revision)}/${path.split("/").map(encodeURIComponent).join("/")}`;

/** How messages name it: `openai-community/gpt2`, `datasets/aps/super_glue@v1`. */
export const refName = ({ type, repo, revision }: HubRef): string =>
  `${type === "model" ? "" : `${type}s/`}${repo}${revision === undefined || revision === defaultRevision ? "" : `@${revision}`}`;
