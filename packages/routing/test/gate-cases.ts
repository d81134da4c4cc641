import { readFixture, readFixtureJson } from '@moestack/fixtures';

/** One entry of the gate fixtures' `cases.json`. */
export interface GateCase {
  name: string;
  n_experts: number;
  topk: number;
  n_groups: number;
  topk_groups: number;
  score_func: 'sigmoid' | 'softmax';
  route_scale: number;
  dtype: 'fp32' | 'bf16';
  tokens: number;
  has_bias: boolean;
  file: string;
}

export const gateCases: readonly GateCase[] = readFixtureJson<{ cases: GateCase[] }>(
  'routing/gate/cases.json',
).cases;

interface TensorEntry {
  dtype: string;
  data_offsets: [number, number];
}

/** Tensors of a gate fixture by name. */
export class GateTensors {
  readonly #bytes: Uint8Array;
  readonly #header: Record<string, TensorEntry>;
  readonly #dataOffset: number;

  constructor(file: string) {
    this.#bytes = Uint8Array.from(readFixture(`routing/gate/${file}`));
    const length = Number(new DataView(this.#bytes.buffer).getBigUint64(0, true));
    this.#header = JSON.parse(new TextDecoder().decode(this.#bytes.subarray(8, 8 + length)));
    this.#dataOffset = 8 + length;
  }

  f32(name: string): Float32Array {
    return new Float32Array(this.#slice(name, 'F32'));
  }

  i32(name: string): Int32Array {
    return new Int32Array(this.#slice(name, 'I32'));
  }

  #slice(name: string, dtype: string): ArrayBuffer {
    const entry = this.#header[name];
    if (entry?.dtype !== dtype) throw new Error(`expected a ${dtype} tensor ${name}`);
    const [start, end] = entry.data_offsets;
    return this.#bytes.slice(this.#dataOffset + start, this.#dataOffset + end).buffer;
  }
}
