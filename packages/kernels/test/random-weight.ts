import { normal } from '@moestack/fixtures';
import type { WeightData, WeightFormat } from '@moestack/kernels';

/** A random weight; codes of all finite E4M3 values, subnormals and both zeros included. */
export function randomWeight(
  format: WeightFormat,
  rows: number,
  cols: number,
  random: () => number,
  scaled = true,
): WeightData {
  const n = rows * cols;
  if (format === 'f32') return { format, rows, cols, data: normal(n, random) };
  if (format === 'bf16') {
    const bits = new Uint32Array(normal(n, random).buffer);
    return { format, rows, cols, data: Uint16Array.from(bits, (value) => value >>> 16) };
  }
  const data = Uint8Array.from({ length: n }, () => {
    const code = Math.floor(random() * 256);
    return (code & 0x7f) === 0x7f ? code & 0x80 : code;
  });
  if (!scaled) return { format, rows, cols, data };
  const scales = normal(Math.ceil(rows / 128) * Math.ceil(cols / 128), random).map(
    (s) => Math.abs(s) * 0.01 + 1e-4,
  );
  return { format, rows, cols, data, scales };
}
