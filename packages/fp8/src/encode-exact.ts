import type { EncodePolicy, Rounding } from './encode-policy.js';
import { floorLog2, powerOfTwo } from './exponent.js';
import type { FormatSpec } from './format-spec.js';

/**
 * Encodes one double with a single rounding, for every format with a mantissa and sign.
 *
 * |x| is scaled by a power of two to units of the last kept bit; in a double that is exact, and so are its integer
 * part and the remainder that the rounding decides on.
 *
 * @param negative - sign bit of x; NaN and zero show it in no other way.
 */
export function encodeValue(
  spec: FormatSpec,
  policy: EncodePolicy,
  x: number,
  negative: boolean,
  random: (() => number) | undefined,
): number {
  if (Number.isNaN(x)) return negative ? policy.nanNegative : policy.nanPositive;
  const { mantissaBits, bias, maxCode, special } = spec;
  const sign = negative ? spec.signBit : 0;
  const magnitude = Math.abs(x);
  if (magnitude === 0) return special === 'fnuz' ? 0 : sign;
  if (magnitude === Number.POSITIVE_INFINITY) {
    return negative ? policy.overflowNegative : policy.overflowPositive;
  }
  const exponent = Math.max(floorLog2(magnitude), 1 - bias);
  // Beyond this, `scaled` would be fine but the shift below would leave 32 bits.
  if (exponent + bias > 2 ** spec.exponentBits) return overflow(spec, policy, negative);
  const scaled = magnitude * powerOfTwo(mantissaBits - exponent);
  // The integer part holds the hidden bit, which raises the exponent field of normals by one.
  const truncated = ((exponent + bias - 1) << mantissaBits) + Math.floor(scaled);
  const rest = scaled - Math.floor(scaled);
  const goesUp = rest !== 0 && roundsUp(truncated, rest, policy.rounding, negative, random);
  const code = goesUp ? truncated + 1 : truncated;
  if (code > maxCode) return overflow(spec, policy, negative);
  return code === 0 && special === 'fnuz' ? 0 : code | sign;
}

/** Whether the magnitude goes to the next code; `nearestEven` prefers the even code. */
function roundsUp(
  code: number,
  rest: number,
  rounding: Rounding,
  negative: boolean,
  random: (() => number) | undefined,
): boolean {
  switch (rounding) {
    case 'nearestEven':
      return rest > 0.5 || (rest === 0.5 && code % 2 === 1);
    case 'nearestAway':
      return rest >= 0.5;
    case 'towardZero':
      return false;
    case 'up':
      return !negative;
    case 'down':
      return negative;
    case 'stochastic':
      return random!() < rest;
  }
}

/** Finite overflow; a rounding that points toward zero stops at the largest finite code, as in IEEE 754. */
function overflow(spec: FormatSpec, policy: EncodePolicy, negative: boolean): number {
  const { rounding } = policy;
  const stopsAtMax = rounding === 'towardZero' || rounding === (negative ? 'up' : 'down');
  if (stopsAtMax) return spec.maxCode | (negative ? spec.signBit : 0);
  return negative ? policy.overflowNegative : policy.overflowPositive;
}

/**
 * Encodes one double to E8M0 (OCP MX scale), whose codes are powers of two from 2^-127 to 2^127.
 *
 * Both nearest modes send ties up. Between 2^-127 and 2^-126 they go up from anything above 2^-127: ml_dtypes and
 * torch round in the float32 encoding, where these numbers are subnormal with the first dropped bit set.
 */
export function encodeScaleValue(
  spec: FormatSpec,
  policy: EncodePolicy,
  x: number,
  negative: boolean,
  random: (() => number) | undefined,
): number {
  const nan = policy.nanPositive;
  if (Number.isNaN(x)) return nan;
  if (policy.zeroAndSign === 'nan' && (negative || x === 0)) return nan;
  const magnitude = Math.abs(x);
  if (magnitude === Number.POSITIVE_INFINITY) return policy.overflowPositive;
  if (magnitude <= powerOfTwo(-spec.bias)) return 0;
  const exponent = floorLog2(magnitude);
  const rest = magnitude * powerOfTwo(-exponent) - 1;
  const code = exponent + spec.bias + (scaleRoundsUp(exponent === -spec.bias, rest, policy, random) ? 1 : 0);
  if (code <= spec.maxCode) return code;
  return policy.rounding === 'towardZero' || policy.rounding === 'down'
    ? spec.maxCode
    : policy.overflowPositive;
}

function scaleRoundsUp(
  isLowest: boolean,
  rest: number,
  policy: EncodePolicy,
  random: (() => number) | undefined,
): boolean {
  if (rest === 0) return false;
  switch (policy.rounding) {
    case 'nearestEven':
    case 'nearestAway':
      return isLowest || rest >= 0.5;
    case 'towardZero':
    case 'down':
      return false;
    case 'up':
      return true;
    case 'stochastic':
      return random!() < rest;
  }
}
