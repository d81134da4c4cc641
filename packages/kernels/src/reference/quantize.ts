import type { QuantizeOptions } from '../types.js';
import { ceilPowerOfTwo, encodeE4m3 } from './formats.js';

/**
 * Activation quantisation in tiles of 1 x 128 (DeepSeek-V3 inference `kernel.py`, `act_quant`):
 * s = max(amax, 1e-4) / 448 in f32, code = E4M3 of x / s, ties to even, saturating.
 *
 * @param x - `[m, k]`
 * @param codes - `[m, k]`
 * @param scales - `[m, ceil(k / 128)]`
 */
export function quantizeActivations(
  x: Float32Array,
  codes: Uint8Array,
  scales: Float32Array,
  m: number,
  k: number,
  options: QuantizeOptions = {},
): void {
  const stride = options.xStride ?? k;
  const blocks = Math.ceil(k / 128);
  for (let i = 0; i < m; i++) {
    for (let b = 0; b < blocks; b++) {
      const end = Math.min(k, b * 128 + 128);
      let amax = Math.fround(1e-4);
      for (let c = b * 128; c < end; c++) {
        const a = Math.abs(x[i * stride + c]!);
        if (amax < a) amax = a;
      }
      let scale = Math.fround(amax / 448);
      if (options.scale === 'powerOfTwo') scale = ceilPowerOfTwo(scale);
      scales[i * blocks + b] = scale;
      for (let c = b * 128; c < end; c++) codes[i * k + c] = encodeE4m3(x[i * stride + c]! / scale);
    }
  }
}
