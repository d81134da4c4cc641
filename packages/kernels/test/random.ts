import type { WeightData, WeightFormat } from '@moestack/kernels';

/** Seeded generator of floats in [0, 1) (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Normally distributed floats. */
export function normal(length: number, random: () => number, scale = 1): Float32Array {
  const values = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    values[i] = scale * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  }
  return values;
}

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
