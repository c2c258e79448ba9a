import { describe, expect, it } from "vitest";
import { chatTemplatesOf, renderChat } from "./chat.ts";

const user = [{ role: "user", content: "hi" }];
const render = (template: string, variables: { [name: string]: unknown } = {}): string =>
  renderChat(new Map(), { bos_token: "<s>" }, user, { template, variables, now: new Date(2024, 1, 9, 7, 5) });

describe("chat templates", () => {
  it("are one template or several with names", () => {
    expect(chatTemplatesOf("x")).toEqual(new Map([["default", "x"]]));
    const named = [
      { name: "default", template: "plain {{ messages[0].content }}" },
      { name: "tool_use", template: "tools {{ tools | length }}" },
    ];
    const templates = chatTemplatesOf(named);
    expect(chatTemplatesOf({ default: named[0]!.template, tool_use: named[1]!.template })).toEqual(templates);
    expect(renderChat(templates, {}, user)).toBe("plain hi");
    expect(renderChat(templates, {}, user, { tools: [{}] })).toBe("tools 1");
    expect(renderChat(templates, {}, user, { tools: [{}], template: "default" })).toBe("plain hi");
    expect(() => renderChat(templates, {}, user, { template: "rag" })).toThrow("one of default, tool_use");
    expect(chatTemplatesOf(undefined).size).toBe(0);
    expect(() => renderChat(new Map(), {}, user)).toThrow("no chat template");
  });

  it("know the clock, the special tokens and variables", () => {
    expect(render("{{ strftime_now('%d %b %Y, %B %H:%M %%') }}")).toBe("09 Feb 2024, February 07:05 %");
    expect(render("{{ bos_token }}{{ eos_token }}|{{ enable_thinking }}", { enable_thinking: false })).toBe(
      "<s>|False",
    );
  });

  it("print values as Python does", () => {
    expect(render("{{ none }} {{ true }} {{ 1.0 }} {{ 3 }} {{ missing }}.")).toBe("None True 1.0 3 .");
    expect(render("{{ x }}", { x: ["it's", 'a "b"\n', 1, null, [true], { k: 0.5 }] })).toBe(
      `["it's", 'a "b"\\n', 1, None, [True], {'k': 0.5}]`,
    );
    expect(render("{{ '-' * 3 ~ 2 * '=' }}{{ 2 * 3 }}{{ 'a' ~ none }}")).toBe("---==6aNone");
    expect(render("{{ 'éa Bc-dE' | title }} {{ 'aBC' | capitalize }} {{ 12 | upper }}{{ [1] | string | trim }}")).toBe(
      "Éa Bc-De Abc 12[1]",
    );
  });

  it("trim blocks as transformers does", () => {
    expect(render("  {% if true %}\n  a\n  {% endif %}\nb")).toBe("  a\nb");
  });

  it("pass on what a template refuses and what is wrong with it", () => {
    expect(() => render("{{ raise_exception('roles must alternate') }}")).toThrow("roles must alternate");
    expect(() => render("{% if %}")).toThrow("the chat template failed");
    expect(() => render("{% for i in range(1000000000) %}{% endfor %}")).toThrow("longer than");
  });
});
