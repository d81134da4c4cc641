// Sums of rows that arrive as bfloat16: each product and each addition is rounded to float32.
import { addScaled } from './elementwise';
import { madd } from './simd';

/** sum[i] += row[i], n bfloat16 codes. */
export function addRowBf16(row: usize, sum: usize, n: u32): void {
  for (; n >= 8; n -= 8) {
    const v = v128.load(row);
    v128.store(sum, f32x4.add(v128.load(sum), i32x4.shl(i32x4.extend_low_i16x8_u(v), 16)));
    v128.store(sum, f32x4.add(v128.load(sum, 16), i32x4.shl(i32x4.extend_high_i16x8_u(v), 16)), 16);
    row += 16;
    sum += 32;
  }
  for (; n > 0; n--) {
    store<f32>(sum, load<f32>(sum) + reinterpret<f32>(<u32>load<u16>(row) << 16));
    row += 2;
    sum += 4;
  }
}

/** sum[i] += weight * row[i], n float32 values. Weights come by address: a fraction passed from JavaScript is a heap object. */
export function addScaledRow(row: usize, weight: usize, sum: usize, n: i32): void {
  addScaled(row, load<f32>(weight), sum, n);
}

/** sum[i] += weight * row[i], n bfloat16 codes. */
export function addScaledRowBf16(row: usize, weight: usize, sum: usize, n: u32): void {
  const factor = load<f32>(weight);
  const w = f32x4.splat(factor);
  for (; n >= 8; n -= 8) {
    const v = v128.load(row);
    v128.store(sum, madd(v128.load(sum), w, i32x4.shl(i32x4.extend_low_i16x8_u(v), 16)));
    v128.store(sum, madd(v128.load(sum, 16), w, i32x4.shl(i32x4.extend_high_i16x8_u(v), 16)), 16);
    row += 16;
    sum += 32;
  }
  for (; n > 0; n--) {
    const product: f32 = factor * reinterpret<f32>(<u32>load<u16>(row) << 16);
    store<f32>(sum, load<f32>(sum) + product);
    row += 2;
    sum += 4;
  }
}
