import { readFileSync } from 'node:fs';
import { fixturePath } from '@moestack/fixtures';

/** One tensor of a golden safetensors file. */
export interface GoldenTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly f32: Float32Array;
  readonly i32: Int32Array;
}

/** A reader of its own for golden files, so that a defect of the checkpoint reader cannot hide in both. */
export function readGolden(name: string): Map<string, GoldenTensor> {
  const file = readFileSync(fixturePath(name));
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerBytes)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, GoldenTensor>();
  for (const [key, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (key === '__metadata__') continue;
    const from = file.byteOffset + 8 + headerBytes + data_offsets[0];
    const bytes = file.buffer.slice(from, from + data_offsets[1] - data_offsets[0]);
    tensors.set(key, { dtype, shape, f32: new Float32Array(bytes), i32: new Int32Array(bytes) });
  }
  return tensors;
}

/** A tensor that must be there. */
export function tensor(tensors: Map<string, GoldenTensor>, name: string): GoldenTensor {
  const found = tensors.get(name);
  if (found === undefined) throw new Error(`no ${name} in the golden file`);
  return found;
}

/** Largest absolute difference; NaN anywhere gives NaN. */
export function maxAbs(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) throw new Error(`expected ${b.length} values, got ${a.length}`);
  let maximum = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= maximum)) maximum = difference;
  }
  return maximum;
}

/** Mean over rows of KL(softmax(reference) || softmax(actual)). */
export function meanKl(actual: Float32Array, reference: Float32Array, vocabulary: number): number {
  const rows = reference.length / vocabulary;
  let total = 0;
  for (let row = 0; row < rows; row++) {
    const p = logSoftmax(reference.subarray(row * vocabulary, (row + 1) * vocabulary));
    const q = logSoftmax(actual.subarray(row * vocabulary, (row + 1) * vocabulary));
    for (let i = 0; i < vocabulary; i++) total += Math.exp(p[i]!) * (p[i]! - q[i]!);
  }
  return total / rows;
}

/** Log-probabilities of one row of logits, in float64. */
export function logSoftmax(logits: Float32Array): Float64Array {
  let maximum = -Infinity;
  for (const value of logits) maximum = Math.max(maximum, value);
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - maximum);
  const logSum = maximum + Math.log(sum);
  return Float64Array.from(logits, (value) => value - logSum);
}
