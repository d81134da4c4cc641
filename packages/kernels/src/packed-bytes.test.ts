import { expect, it } from 'vitest';
import {
  Arena,
  Kernels,
  packedBytes,
  packedLike,
  packedWithNan,
  type Weight,
  type WeightData,
} from './index.js';

const ROWS = 130;
const COLS = 140;
const values = Float32Array.from({ length: ROWS * COLS }, (_, i) => Math.sin(i));
const codes = Uint8Array.from({ length: ROWS * COLS }, (_, i) => (i * 7) % 256);
const kinds: WeightData[] = [
  { format: 'f32', rows: ROWS, cols: COLS, data: values },
  { format: 'bf16', rows: ROWS, cols: COLS, data: Uint16Array.from(values, (_, i) => 0x3f00 + (i % 128)) },
  // Codes with NaN among them.
  { format: 'e4m3fn', rows: ROWS, cols: COLS, data: codes, scales: Float32Array.of(1, 2, 3, 4) },
];

function copy(from: Weight, to: Weight): Weight {
  const source = packedBytes(from);
  const target = packedBytes(to);
  target.data.set(source.data);
  target.scales.set(source.scales);
  return packedWithNan(to, source.nanCells);
}

it.each(kinds)('moves $format weights between memories', (data) => {
  const here = new Kernels(Arena.create({ maximumBytes: 4 << 20 }));
  const there = new Kernels(Arena.create({ maximumBytes: 4 << 20 }));
  const x = values.slice(0, COLS);
  for (const layout of ['panels', 'rows'] as const) {
    const weight = here.pack(data, { layout });
    const moved = copy(weight, packedLike(weight, there.arena));
    expect(moved.sizeBytes).toBe(weight.sizeBytes);
    const expected = new Float32Array(ROWS);
    const actual = new Float32Array(ROWS);
    here.linear(weight, x, expected, 1);
    there.linear(moved, x, actual, 1);
    expect(actual).toEqual(expected);
  }
});
