import { conformance, type Skips } from "../../test/support/conformance.ts";
import { ortNode } from "./index.ts";

const noUint8 = { uint8: "ONNX defines no such operator for uint8" };
const noFloat16Add = { float16: "ONNX Runtime adds no float16 in a scatter" };

const skips: Skips = {
  Neg: noUint8,
  Pow: noUint8,
  ReduceSum: noUint8,
  CumSum: noUint8,
  MatMul: noUint8,
  Erf: { float64: "ONNX Runtime has no float64 kernel" },
  Softplus: { float64: "ONNX Runtime has no float64 kernel" },
  Gelu: { float64: "ONNX Runtime has no float64 kernel" },
  GeluTanh: { float64: "ONNX Runtime computes it in float32" },
  AddRows: noFloat16Add,
  ScatterElements: noFloat16Add,
  ScatterND: noFloat16Add,
  PutRows: noFloat16Add,
};

conformance(ortNode({ threads: 1 }), skips);
