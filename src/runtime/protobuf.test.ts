import { fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { AttributeProtoSchema, GraphProtoSchema, TensorProtoSchema } from "./onnx_pb.js";
import { Message } from "./protobuf.ts";

describe("what is written is what a reader generated from onnx.proto reads", () => {
  test("integers of every length and sign", () => {
    const values = [0, 1, 127, 128, 16383, 16384, 2 ** 31, 2 ** 53 - 1, -1, -128, -(2 ** 53) + 1];
    const message = new Message();
    for (const n of values) message.int(8, n);
    expect(fromBinary(AttributeProtoSchema, message.finish()).ints.map(Number)).toEqual(values);
  });

  test("floats, text and bytes", () => {
    const bytes = new Message().float(2, -1.5).text(1, "transA").bytes(4, Uint8Array.of(0, 255)).finish();
    const read = fromBinary(AttributeProtoSchema, bytes);
    expect([read.f, read.name, ...read.s]).toEqual([-1.5, "transA", 0, 255]);
  });

  test("contents of every size, one in another, small beside large", () => {
    const sizes = [0, 1, 31, 127, 128, 4095, 4096, 4097, 20_000];
    const data = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => i * 7 + size);
    const graph = new Message().text(2, "g");
    for (const size of sizes) graph.message(5, new Message().text(8, `t${size}`).bytes(9, data(size)).int(2, 1));
    const read = fromBinary(GraphProtoSchema, graph.text(10, "end").finish());
    expect([read.name, read.docString]).toEqual(["g", "end"]);
    expect(read.initializer.map((t) => [t.name, t.dataType])).toEqual(sizes.map((size) => [`t${size}`, 1]));
    read.initializer.forEach((t, i) => expect(t.rawData).toEqual(data(sizes[i]!)));
  });

  test("one message in two others stays itself", () => {
    const type = new Message().bytes(9, new Uint8Array(5000).fill(3)).text(8, "shared");
    const read = fromBinary(GraphProtoSchema, new Message().message(5, type).message(5, type).finish());
    expect(read.initializer.map((t) => [t.name, t.rawData.length])).toEqual([
      ["shared", 5000],
      ["shared", 5000],
    ]);
    expect(fromBinary(TensorProtoSchema, type.finish()).name).toBe("shared");
  });
});
