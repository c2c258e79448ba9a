import { describe, expect, it } from "vitest";
import { formatPrompt, taskPrompt } from "./prompts.ts";

describe("taskPrompt", () => {
  it("package: no space before Does, the second text as it is", () => {
    expect(taskPrompt("Foundation.", "Christopher Reeve had an accident.")).toBe(
      "Foundation.Does the previous passage imply that Christopher Reeve had an accident.? Answer with only one word, either Yes or No.",
    );
  });
  it("inline: a space, and no trailing periods", () => {
    expect(taskPrompt("Foundation.", "He had an accident...", "inline")).toBe(
      "Foundation. Does the previous passage imply that He had an accident? Answer with only one word, either Yes or No.",
    );
  });
  it("with a context and a question of one's own", () => {
    expect(taskPrompt("P", "Q", { context: "Read:", question: "Is it so?" })).toBe("Read:\nP\nIs it so?\nQ");
  });
});

describe("formatPrompt", () => {
  it("strips white space as Python does, and only that", () => {
    expect(formatPrompt(" \u001c\u3000x\ufeff \n")).toBe("x\ufeff");
  });
  it("writes the turns of Gemma and Llama 3 as the tutorials do", () => {
    expect(formatPrompt(" x ", "gemma-chat")).toBe("<bos><start_of_turn>user\nx<end_of_turn>\n<start_of_turn>model\n");
    expect(formatPrompt("x", "llama3-chat")).toBe(
      "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\nYou are a helpful assistant.<|eot_id|>" +
        "<|start_header_id|>user<|end_header_id|>\nx <|eot_id|><|start_header_id|>assistant<|end_header_id|>\n",
    );
  });
  it("needs a tokenizer for the tokenizer's template", () => {
    expect(() => formatPrompt("x", "template")).toThrow("needs a tokenizer");
  });
});
