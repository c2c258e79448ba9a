/** @file The ONNX Runtime backend for Node. */
import { availableParallelism } from "node:os";
import { InferenceSession, Tensor as OrtTensor, env } from "onnxruntime-node";
import { numberToBfloat16, type DataArray, type DType } from "../graph/dtype.ts";
import type { Backend, Buffer, Executable, Plan } from "./backend.ts";
import { RuntimeError } from "./errors.ts";
import { lowerPlan, wireType } from "./onnx.ts";
import { fromFloat64, toFloat64 } from "./reference.ts";

export interface OrtOptions {
  /** Threads of one operation. Default: all cores. */
  threads?: number;
  /** Execution providers in order of preference: `cpu`, and where present `cuda`, `webgpu`. */
  providers?: readonly string[];
  /** Whether ONNX Runtime keeps freed buffers in an arena. Default true: faster, and level after the first runs. */
  arena?: boolean;
  /**
   * Whether attention and norms that nobody looks into are one operator each. Default true; always false where another
   * provider than `cpu` runs.
   */
  fuse?: boolean;
}

const toWire = (buffer: Buffer, dtype: DType): DataArray =>
  wireType(dtype) === dtype ? buffer.data : fromFloat64(toFloat64(buffer.data, dtype), wireType(dtype));

/** Newer engines hand float16 over as a Float16Array: its bits are what we keep. */
function fromWire(data: DataArray, dtype: DType): DataArray {
  if (dtype === "bfloat16") return Uint16Array.from(data as Float32Array, numberToBfloat16);
  if (dtype === "float16") return new Uint16Array(data.buffer, data.byteOffset, data.length);
  return data;
}

const feedTensor = (data: DataArray, dtype: DType, dims: readonly number[]): OrtTensor =>
  new OrtTensor(wireType(dtype) as "float32", data as Float32Array, dims);

function sizeTensor(size: number | undefined, name: string): OrtTensor {
  if (size === undefined)
    throw new RuntimeError(`the size of axis ${name} is not known`, {
      code: "runtime/unknown-axis",
      hint: "give the axis a size, or feed a tensor whose shape has it",
    });
  return new OrtTensor("int64", BigInt64Array.of(BigInt(size)), [1]);
}

/** Outputs by name: null where ONNX Runtime is to find memory. */
function fetches(
  names: readonly string[],
  types: readonly DType[],
  into: ReadonlyMap<number, Buffer> | undefined,
): Record<string, OrtTensor | null> {
  return Object.fromEntries(
    names.map((name, i) => {
      const given = into?.get(i);
      return [name, given && crosses(types[i]!) ? feedTensor(given.data, types[i]!, given.dims) : null];
    }),
  );
}

/** Whether data of this type crosses into ONNX Runtime and back as it is. */
const crosses = (dtype: DType): boolean => wireType(dtype) === dtype && dtype !== "float16";

/** The buffer that was given, with the output in it. */
function written(given: Buffer, result: OrtTensor, dtype: DType): Buffer {
  if (!crosses(dtype)) given.data.set(fromWire(result.data as DataArray, dtype) as never);
  return given;
}

async function createSession(
  bytes: Uint8Array,
  options: InferenceSession.SessionOptions,
  plan: Plan,
): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(bytes, options);
  } catch (cause) {
    throw new RuntimeError("ONNX Runtime rejected a graph", {
      code: "runtime/compile",
      received: cause instanceof Error ? cause.message : String(cause),
      where: `a graph with ${plan.feeds.length} inputs and ${plan.outputs.length} outputs`,
      cause,
    });
  }
}

/** What `OMP_NUM_THREADS` says, as with PyTorch (batch systems set it), else one for each core. */
function defaultThreads(): number {
  const said = Number(process.env["OMP_NUM_THREADS"]);
  return Number.isInteger(said) && said > 0 ? said : availableParallelism();
}

/**
 * The CPU (and, where installed, CUDA or WebGPU) backend over onnxruntime-node.
 * @example
 * const backend = ortNode({ threads: 1 });
 */
export function ortNode(
  options: OrtOptions = {},
): Backend & { readonly threads: number; readonly providers: readonly string[] } {
  const { threads = defaultThreads(), providers = ["cpu"], arena = true } = options;
  const fuses = (options.fuse ?? true) && providers.every((provider) => provider === "cpu");
  env.logLevel = "error";
  const sessionOptions: InferenceSession.SessionOptions = {
    executionProviders: [...providers],
    // Our own graphs come optimised; looking for what is not there takes half of the time of a compilation.
    graphOptimizationLevel: fuses ? "disabled" : "all",
    enableMemPattern: false,
    enableCpuMemArena: arena,
    executionMode: "sequential",
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  };
  return {
    name: "ort-node",
    device: providers[0] ?? "cpu",
    caches: true,
    fuses,
    threads,
    providers,
    compile: async (plan: Plan): Promise<Executable> => {
      const { bytes, external, ...model } = lowerPlan(plan);
      const session = await createSession(bytes, { ...sessionOptions, externalData: external }, plan);
      const dtypes = plan.feeds.map((x) => x.dtype);
      const outputTypes = plan.outputs.map((x) => x.dtype);
      let disposed = false;
      return {
        bytes: model.packedBytes,
        run: async (feeds, sizes, into) => {
          const inputs: Record<string, OrtTensor> = {};
          for (let i = 0; i < model.feeds.length; i++)
            inputs[model.feeds[i]!] = feedTensor(toWire(feeds[i]!, dtypes[i]!), dtypes[i]!, feeds[i]!.dims);
          for (const { input, atom, name } of model.sizes) inputs[input] = sizeTensor(sizes[atom], name);
          let results: InferenceSession.OnnxValueMapType;
          try {
            results = await session.run(inputs, fetches(model.outputs, outputTypes, into));
          } catch (cause) {
            throw new RuntimeError("ONNX Runtime could not run a graph", {
              code: "runtime/run",
              received: cause instanceof Error ? cause.message : String(cause),
              cause,
            });
          }
          return model.outputs.map((name, i) => {
            const given = into?.get(i);
            if (given !== undefined) return written(given, results[name] as OrtTensor, outputTypes[i]!);
            const value = results[name] as OrtTensor;
            return { dims: value.dims, data: fromWire(value.data as DataArray, outputTypes[i]!) };
          });
        },
        dispose: async () => {
          if (!disposed) await session.release();
          disposed = true;
        },
      };
    },
  };
}
