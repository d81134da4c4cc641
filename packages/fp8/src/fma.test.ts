import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fmaFloat32 } from './fma.js';

const float32 = fc.float({ noDefaultInfinity: true, noNaN: true });
const nearby = fc
  .record({
    mantissa: fc.integer({ min: -(2 ** 24), max: 2 ** 24 }),
    exponent: fc.integer({ min: -40, max: 20 }),
  })
  .map(({ mantissa, exponent }) => mantissa * 2 ** exponent);

/** A double as a multiple of 2^-1074. */
function toUnits(x: number): bigint {
  let exponent = 0;
  while (!Number.isInteger(x)) {
    x *= 2;
    exponent++;
  }
  return BigInt(x) << BigInt(1074 - exponent);
}

/** a * b + c by exact integers, rounded once to float32 by comparing with both neighbours. */
function exactFma(a: number, b: number, c: number): number {
  const exact = ((toUnits(a) * toUnits(b)) >> 1074n) + toUnits(c);
  const candidate = Math.fround(a * b + c);
  const word = new Float32Array([candidate]);
  const bits = new Int32Array(word.buffer);
  const neighbours = [-1, 0, 1].map((step) => {
    const moved = new Int32Array([bits[0]! + step]);
    return new Float32Array(moved.buffer)[0]!;
  });
  const distance = (x: number): bigint => {
    const d = toUnits(x) - exact;
    return d < 0n ? -d : d;
  };
  const isEven = (x: number): boolean => (new Uint32Array(new Float32Array([x]).buffer)[0]! & 1) === 0;
  return neighbours.reduce((best, x) => {
    const [d, bestDistance] = [distance(x), distance(best)];
    return d < bestDistance || (d === bestDistance && isEven(x)) ? x : best;
  });
}

test('rounds once, where a double sum would round twice', () => {
  // a * b = 2^-24 (1 - 2^-36), just below half a unit of c; the double sum cannot hold the difference.
  const [a, b, c] = [1 + 2 ** -18, 2 ** -24 * (1 - 2 ** -18), 1 + 2 ** -23] as const;
  expect(fmaFloat32(a, b, c)).toBe(c);
  expect(Math.fround(a * b + c)).not.toBe(c);
  expect(exactFma(a, b, c)).toBe(c);
});

test('equals exact arithmetic on numbers of similar size', () => {
  fc.assert(
    fc.property(nearby, nearby, nearby, (a, b, c) => {
      expect(fmaFloat32(a, b, c)).toBe(exactFma(a, b, c) + 0);
    }),
    { seed: 1, numRuns: 3000 },
  );
});

test('ties that only a far-away tail breaks go the right way, for odd and even c and both signs', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2 ** 23 + 1, max: 2 ** 24 - 2 }),
      fc.integer({ min: 15, max: 23 }),
      fc.constantFrom(1, -1),
      (c, s, sign) => {
        const [a, b] = [sign * (1 + 2 ** -s), 0.5 * (1 - 2 ** -s)];
        expect(fmaFloat32(a, b, sign * c)).toBe(sign * c);
        expect(fmaFloat32(a, -b, sign * c)).toBe(sign * c);
        // (1 + 2^-s)^2 / 2 is above the tie.
        expect(fmaFloat32(a, 0.5 * (1 + 2 ** -s), sign * c)).toBe(sign * (c + 1));
      },
    ),
    { seed: 2, numRuns: 500 },
  );
});

test('any finite operands stay within one rounding, infinities and NaN propagate', () => {
  fc.assert(
    fc.property(float32, float32, float32, (a, b, c) => {
      const approximate = a * b + c;
      if (Math.abs(approximate) < 3e38)
        expect(fmaFloat32(a, b, c)).toBeCloseTo(Math.fround(approximate), -38);
    }),
    { seed: 3, numRuns: 1000 },
  );
  expect(fmaFloat32(Infinity, 1, 1)).toBe(Infinity);
  expect(fmaFloat32(Infinity, 1, -Infinity)).toBeNaN();
  expect(fmaFloat32(Infinity, 0, 1)).toBeNaN();
  expect(fmaFloat32(3e38, 3e38, 1)).toBe(Infinity);
  expect(fmaFloat32(1, -1, 1)).toBe(0);
  expect(Object.is(fmaFloat32(-0, 1, -0), -0)).toBe(true);
});
