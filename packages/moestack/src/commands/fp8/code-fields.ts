import type { FormatSpec } from '@moestack/fp8';

/** What a code is, apart from its value. */
export type CodeClass = 'zero' | 'subnormal' | 'normal' | 'infinity' | 'NaN';

/** Hexadecimal form of a code, as wide as the format. */
export function hexCode({ bits }: FormatSpec, code: number): string {
  return `0x${code.toString(16).padStart(Math.ceil(bits / 4), '0')}`;
}

/** Sign, exponent and mantissa of a code in binary, parted by spaces; no sign in scale formats. */
export function codeFields({ exponentBits, mantissaBits, signBit }: FormatSpec, code: number): string {
  const digits = code.toString(2).padStart((signBit === 0 ? 0 : 1) + exponentBits + mantissaBits, '0');
  const end = digits.length - mantissaBits;
  const parts = [
    digits.slice(0, end - exponentBits),
    digits.slice(end - exponentBits, end),
    digits.slice(end),
  ];
  return parts.filter((part) => part !== '').join(' ');
}

/** Class of a code whose value is `value`. */
export function classOf({ bias, special }: FormatSpec, value: number): CodeClass {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return 'infinity';
  if (value === 0) return 'zero';
  if (special === 'scale') return 'normal';
  return Math.abs(value) < 2 ** (1 - bias) ? 'subnormal' : 'normal';
}
