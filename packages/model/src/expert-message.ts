import { packedBytes, packedWithNan } from '@moestack/kernels';
import type { MlpWeights } from './weights.js';

const PARTS = ['gate', 'up', 'down'] as const;

/** Bytes of one expert's weights, without NaN cells. */
export function expertBytes(expert: MlpWeights): number {
  return PARTS.reduce((sum, part) => sum + expert[part].sizeBytes, 0);
}

/** How many NaN cells each matrix has: sent ahead of them. */
export function nanCounts(expert: MlpWeights): Int32Array {
  return Int32Array.from(PARTS, (part) => packedBytes(expert[part]).nanCells.length);
}

/** The NaN cells of all matrices, one after the other. */
export function nanCells(expert: MlpWeights): Int32Array {
  return Int32Array.from(PARTS.flatMap((part) => [...packedBytes(expert[part]).nanCells]));
}

/** Copies an expert's weights into `out`. */
export function writeExpert(expert: MlpWeights, out: Uint8Array): void {
  let at = 0;
  for (const part of PARTS) {
    const { data, scales } = packedBytes(expert[part]);
    out.set(data, at);
    out.set(scales, at + data.length);
    at += data.length + scales.length;
  }
}

/** Fills `room` with what {@link writeExpert} wrote; the result uses the same memory. */
export function readExpert(
  room: MlpWeights,
  bytes: Uint8Array,
  counts: Int32Array,
  cells: Int32Array,
): MlpWeights {
  let at = 0;
  let cell = 0;
  const read = (part: (typeof PARTS)[number], index: number) => {
    const { data, scales } = packedBytes(room[part]);
    data.set(bytes.subarray(at, at + data.length));
    scales.set(bytes.subarray(at + data.length, at + data.length + scales.length));
    at += data.length + scales.length;
    const own = cells.subarray(cell, cell + counts[index]!);
    cell += counts[index]!;
    return packedWithNan(room[part], own);
  };
  return { gate: read('gate', 0), up: read('up', 1), down: read('down', 2) };
}
