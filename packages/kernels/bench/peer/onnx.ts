import type { PeerProduct } from './tfjs.js';

// Just enough of the ONNX protobuf format for one MatMul (onnx.proto3: ModelProto, GraphProto, NodeProto, ValueInfoProto).
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value & 127) | 128);
  return [...bytes, value];
}
const number = (field: number, value: number): number[] => [...varint(field << 3), ...varint(value)];
const bytes = (field: number, value: number[]): number[] => [
  ...varint((field << 3) | 2),
  ...varint(value.length),
  ...value,
];
const text = (field: number, value: string): number[] => bytes(field, [...new TextEncoder().encode(value)]);

function valueInfo(name: string, dims: number[]): number[] {
  const shape = dims.flatMap((dim) => bytes(1, number(1, dim)));
  const tensor = [...number(1, 1), ...bytes(2, shape)];
  return [...text(1, name), ...bytes(2, bytes(1, tensor))];
}

/** A model that multiplies `[m, k]` by `[k, n]`. */
function matMulModel(m: number, n: number, k: number): Uint8Array {
  const node = [...text(1, 'a'), ...text(1, 'b'), ...text(2, 'c'), ...text(4, 'MatMul')];
  const graph = [
    ...bytes(1, node),
    ...text(2, 'product'),
    ...bytes(11, valueInfo('a', [m, k])),
    ...bytes(11, valueInfo('b', [k, n])),
    ...bytes(12, valueInfo('c', [m, n])),
  ];
  return Uint8Array.from([
    ...number(1, 8),
    ...bytes(7, graph),
    ...bytes(8, [...text(1, ''), ...number(2, 17)]),
  ]);
}

/** The peer, or undefined where it is not installed. Its product is asynchronous. */
export async function openOnnx(): Promise<
  ((...args: Parameters<PeerProduct>) => Promise<() => unknown>) | undefined
> {
  try {
    const { InferenceSession, Tensor } = await import('onnxruntime-node');
    return async (a, b, { m, n, k }) => {
      const session = await InferenceSession.create(matMulModel(m, n, k), {
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
      });
      const columns = new Float32Array(n * k);
      for (let i = 0; i < n; i++) for (let j = 0; j < k; j++) columns[j * n + i] = b[i * k + j]!;
      const feeds = { a: new Tensor('float32', a, [m, k]), b: new Tensor('float32', columns, [k, n]) };
      return () => session.run(feeds);
    };
  } catch {
    return undefined;
  }
}
