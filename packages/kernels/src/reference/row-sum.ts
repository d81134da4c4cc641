import { decodeBf16 } from './formats.js';

/** sum[i] += row[i], bfloat16 codes, each addition rounded to float32. */
export function addRowBf16(row: Uint16Array, sum: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) sum[i] = sum[i]! + decodeBf16(row[i]!);
}

/** sum[i] += weight * row[i], bfloat16 codes, product and sum rounded to float32. */
export function addScaledRowBf16(row: Uint16Array, weight: number, sum: Float32Array, n: number): void {
  const w = Math.fround(weight);
  for (let i = 0; i < n; i++) sum[i] = sum[i]! + Math.fround(w * decodeBf16(row[i]!));
}
