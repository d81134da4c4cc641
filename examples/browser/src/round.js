import { accumulationError, decode, encode } from '@moestack/fp8';

const names = ['e4m3fn', 'e5m2', 'e4m3fnuz', 'e5m2fnuz', 'e3m4', 'e2m3fn', 'e3m2fn', 'e2m1fn', 'bf16', 'f16'];
const bits = { e2m3fn: 6, e3m2fn: 6, e2m1fn: 4, bf16: 16, f16: 16 };

/** The number in every format: its code in binary, the value of that code, and the relative error. */
export function roundings(number) {
  return names.map((format) => {
    const codes = encode(format, Float64Array.of(number));
    const [value] = decode(format, codes);
    return {
      format,
      code: codes[0].toString(2).padStart(bits[format] ?? 8, '0'),
      value,
      error: number === 0 ? 0 : Math.abs(value - number) / Math.abs(number),
    };
  });
}

/** Relative error of sums of `k` products on Hopper's tensor cores, alone and promoted every 128. */
export function sums(k) {
  const study = { k, accumulate: 'hopper', distribution: 'normal', mean: 1, size: 8, seed: 1 };
  return {
    alone: accumulationError(study).frobenius,
    promoted: accumulationError({ ...study, promoteEvery: 128 }).frobenius,
  };
}
