import { needCount, needLength } from './checks.js';
import { KernelsError } from './errors.js';
import type { ProductOperand, SegmentProductOptions } from './fp8-product.js';

/** The longest segment that working space of bounded size allows. */
export const MAXIMUM_SEGMENT: number = 1 << 17;

/** Throws unless operands, sizes and segments of a product fit together. */
export function checkProduct(
  a: ProductOperand,
  b: ProductOperand,
  out: Float32Array,
  [m, n, k]: readonly [number, number, number],
  { starts, fused = 0, wide = false }: SegmentProductOptions,
): void {
  for (const [name, size] of Object.entries({ m, n, k })) needCount(name, size, 0);
  needLength('out', out, m * n);
  for (const [name, rows, operand] of [
    ['a', m, a],
    ['b', n, b],
  ] as const) {
    const { data, table, exponents, scales, tileRows = rows, tileK = k } = operand;
    needLength(`${name}.data`, data, rows * k);
    if (!(data instanceof Float32Array)) checkCodes(name, data, rows * k, table?.length ?? 0);
    if (operand.blockExponents !== undefined) {
      needLength(`${name}.blockExponents`, operand.blockExponents, rows * Math.ceil(k / 32));
    }
    if (fused !== 0 || wide) needLength(`${name}.exponents`, exponents ?? new Int8Array(0), 256);
    if (scales !== undefined && rows * k > 0) {
      needLength(`${name}.scales`, scales, Math.ceil(rows / tileRows) * Math.ceil(k / tileK));
    }
  }
  if (starts.length === 0 || starts[starts.length - 1] !== k || (k > 0 && starts[0] !== 0)) {
    throw badStarts(`from 0 to k = ${k}`, starts);
  }
  for (let s = 0; s + 1 < starts.length; s++) {
    const length = starts[s + 1]! - starts[s]!;
    const isBlocked = a.blockExponents !== undefined || b.blockExponents !== undefined;
    if (isBlocked && starts[s]! % 32 !== 0) throw badStarts('at multiples of 32', starts);
    if (!(length > 0 && length <= MAXIMUM_SEGMENT)) {
      throw badStarts(`segments of 1 to ${MAXIMUM_SEGMENT} elements`, starts);
    }
  }
}

/** Codes index the table without further checks. */
function checkCodes(name: string, codes: Uint8Array | Uint16Array, count: number, entries: number): void {
  if (entries >= 2 ** (8 * codes.BYTES_PER_ELEMENT)) return;
  for (let i = 0; i < count; i++) {
    if (codes[i]! < entries) continue;
    throw new KernelsError({
      code: 'kernels/bad-codes',
      message: `expected codes of ${name} below ${entries}, the length of its table, got ${codes[i]} at ${i}`,
      value: codes[i],
      remedy: 'pass a table with a value for every code',
    });
  }
}

function badStarts(expected: string, starts: readonly number[]): KernelsError {
  const seen = starts.slice(0, 8).join(', ');
  return new KernelsError({
    code: 'kernels/bad-segments',
    message: `expected starts ${expected}, got [${seen}]`,
    value: starts.slice(0, 8),
    remedy: 'pass ascending starts of segments and k itself',
  });
}
