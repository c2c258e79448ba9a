/** @file Chat templates, rendered as transformers does: Jinja with trimmed blocks, `tojson`, `raise_exception`. */
import { TokenizerError } from "./errors.ts";
import { renderJinja } from "./jinja.ts";
import { isObject } from "./json.ts";

/** One turn of a conversation: a role, its content (text or parts), and whatever else the template reads. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [key: string]: unknown;
}

export interface ChatOptions {
  /** Ends the text with what opens the model's turn. Default false. */
  addGenerationPrompt?: boolean;
  /** JSON schemas of the functions the model may call. */
  tools?: readonly unknown[] | null;
  /** Documents for retrieval templates. */
  documents?: readonly unknown[] | null;
  /** The name of one of the tokenizer's templates, or a template (it has a `{`). Default: `tool_use` with tools, else `default`. */
  template?: string;
  /** More variables for the template, such as `enable_thinking`. */
  variables?: { readonly [name: string]: unknown };
  /** What `strftime_now` says. Default: the current time. */
  now?: Date;
}

/** Templates by name; a single one is called `default`. */
export type ChatTemplates = ReadonlyMap<string, string>;

/** Reads `chat_template` of tokenizer_config.json: a template, or a list or table of named ones. */
export function chatTemplatesOf(value: unknown): ChatTemplates {
  if (typeof value === "string") return new Map([["default", value]]);
  const entries: unknown[][] = Array.isArray(value)
    ? value.filter(isObject).map((t) => [t["name"], t["template"]])
    : Object.entries(isObject(value) ? value : {});
  return new Map(entries.filter((e): e is [string, string] => typeof e[0] === "string" && typeof e[1] === "string"));
}

/** Renders a conversation. `named` holds the special tokens that templates print. */
export function renderChat(
  templates: ChatTemplates,
  named: { readonly [key: string]: string },
  messages: readonly ChatMessage[],
  options: ChatOptions = {},
): string {
  const {
    addGenerationPrompt = false,
    tools = null,
    documents = null,
    template,
    variables = {},
    now = new Date(),
  } = options;
  const source = choose(templates, template, tools !== null);
  const items = { ...named, ...variables, messages, tools, documents, add_generation_prompt: addGenerationPrompt };
  try {
    return renderJinja(source, items, now);
  } catch (cause) {
    throw new TokenizerError(`the chat template failed: ${cause instanceof Error ? cause.message : String(cause)}`, {
      code: "tokenizer/chat-template",
      cause,
    });
  }
}

function choose(templates: ChatTemplates, wanted: string | undefined, tools: boolean): string {
  if (wanted?.includes("{") === true) return wanted;
  const found =
    wanted !== undefined
      ? templates.get(wanted)
      : ((tools ? templates.get("tool_use") : undefined) ?? templates.get("default"));
  if (found !== undefined) return found;
  const names = [...templates.keys()];
  throw new TokenizerError(
    names.length === 0 ? "this tokenizer has no chat template" : "no chat template of that name",
    {
      code: "tokenizer/no-chat-template",
      expected: names.length === 0 ? undefined : `one of ${names.join(", ")}`,
      received: wanted,
      hint: "pass a Jinja template as the option template",
    },
  );
}
