import { Fp8Error, quoted } from './errors.js';

/** Names of the built-in element formats. */
export type FormatName =
  | 'e4m3fn'
  | 'e5m2'
  | 'e4m3'
  | 'e3m4'
  | 'e4m3fnuz'
  | 'e5m2fnuz'
  | 'e4m3b11fnuz'
  | 'e8m0fnu'
  | 'e5m6'
  | 'e2m3fn'
  | 'e3m2fn'
  | 'e2m1fn'
  | 'bf16'
  | 'f16';

/**
 * How a format spends its special codes.
 *
 * - `ieee`: infinities and NaNs at the all-ones exponent.
 * - `fn`: no infinity, one NaN per sign (all ones).
 * - `fnuz`: no infinity, no negative zero; its code is the only NaN.
 * - `none`: every code is a finite number.
 * - `scale`: unsigned power of two without zero (E8M0); all ones is NaN.
 */
export type SpecialCodes = 'ieee' | 'fn' | 'fnuz' | 'none' | 'scale';

/** Bit layout of an element format: sign (except `scale`), exponent, mantissa, from high to low. */
export interface FormatSpec {
  readonly name: string;
  /** Width of one code, 2 to 16. */
  readonly bits: number;
  readonly exponentBits: number;
  readonly mantissaBits: number;
  /** Exponent bias: a normal code with exponent field `f` is scaled by 2^(f - bias). */
  readonly bias: number;
  readonly special: SpecialCodes;
  /** Largest finite value. */
  readonly max: number;
  /** Code of {@link FormatSpec.max}. */
  readonly maxCode: number;
  /** Bit that holds the sign; 0 for `scale` formats. */
  readonly signBit: number;
}

/** Element codes: 8-bit storage up to 8 bits, 16-bit storage beyond; one code per element. */
export type Codes = Uint8Array | Uint16Array;

/** A built-in format by name, or one made by {@link defineFormat}. */
export type Format = FormatName | FormatSpec;

/** What {@link defineFormat} takes. */
export interface FormatDefinition {
  readonly name: string;
  /** 1 to 8. */
  readonly exponentBits: number;
  /** 0 to 12; the code must fit into 16 bits. */
  readonly mantissaBits: number;
  /** Default 2^(exponentBits - 1) - 1. */
  readonly bias?: number;
  /** Default `ieee`. */
  readonly special?: Exclude<SpecialCodes, 'scale'>;
}

/**
 * Defines a signed ExMy format beyond the built-in ones.
 *
 * Every finite code must be exact in float32, since {@link decode} returns float32: the bias is limited so that the
 * largest value stays below 2^128 and the smallest at or above 2^-149.
 *
 * @example
 * ```ts
 * import { decode, defineFormat, encode } from '@moestack/fp8';
 *
 * const e6m9 = defineFormat({ name: 'e6m9', exponentBits: 6, mantissaBits: 9 });
 * console.log(decode(e6m9, encode(e6m9, Float32Array.of(Math.PI))));
 * ```
 */
export function defineFormat(definition: FormatDefinition): FormatSpec {
  const { name, exponentBits, mantissaBits, special = 'ieee' } = definition;
  const bias = definition.bias ?? 2 ** (exponentBits - 1) - 1;
  const bits = 1 + exponentBits + mantissaBits;
  if (!Number.isInteger(exponentBits) || exponentBits < 1 || exponentBits > 8) {
    throw badDefinition(name, `expected 1 to 8 exponent bits, got ${exponentBits}`);
  }
  if (!Number.isInteger(mantissaBits) || mantissaBits < 0 || bits > 16) {
    throw badDefinition(name, `expected mantissa bits so that the code fits 16 bits, got ${mantissaBits}`);
  }
  if (special === 'ieee' && exponentBits === 1 && mantissaBits === 0) {
    throw badDefinition(
      name,
      'an ieee format of one exponent bit and no mantissa has no finite code but zero',
    );
  }
  if (special === 'ieee' && mantissaBits === 0) {
    throw badDefinition(name, 'an ieee format needs a mantissa bit to tell infinity from NaN');
  }
  const spec = makeSpec(name, exponentBits, mantissaBits, bias, special);
  const smallest = 2 ** (1 - bias - mantissaBits);
  if (!Number.isInteger(bias) || spec.max >= 2 ** 128 || smallest < 2 ** -149) {
    throw badDefinition(name, `expected an integer bias that keeps every code exact in float32, got ${bias}`);
  }
  return spec;
}

function badDefinition(name: string, message: string): Fp8Error {
  return new Fp8Error({
    code: 'fp8/bad-format-definition',
    message: `format ${quoted(name)}: ${message}`,
    value: name,
    remedy: 'choose other widths, bias or special codes',
  });
}

function makeSpec(
  name: string,
  exponentBits: number,
  mantissaBits: number,
  bias: number,
  special: SpecialCodes,
): FormatSpec {
  const signed = special !== 'scale';
  const bits = (signed ? 1 : 0) + exponentBits + mantissaBits;
  const codes = 2 ** (exponentBits + mantissaBits);
  const maxCode =
    special === 'ieee'
      ? codes - 2 ** mantissaBits - 1
      : special === 'fn' || special === 'scale'
        ? codes - 2
        : codes - 1;
  const field = Math.floor(maxCode / 2 ** mantissaBits);
  const fraction = (maxCode % 2 ** mantissaBits) / 2 ** mantissaBits;
  const max =
    special === 'scale' || field > 0 ? (1 + fraction) * 2 ** (field - bias) : fraction * 2 ** (1 - bias);
  const signBit = signed ? codes : 0;
  return Object.freeze({
    name,
    bits,
    exponentBits,
    mantissaBits,
    bias,
    special,
    max,
    maxCode,
    signBit,
  });
}

/**
 * The built-in formats by name: OCP FP8 (e4m3fn, e5m2), IEEE-style and fnuz variants as in ml_dtypes, OCP MX
 * elements (e2m3fn, e3m2fn, e2m1fn) and scale (e8m0fnu), the 12-bit e5m6 of the DeepSeek-V3 report (whose special
 * codes are not published; IEEE style here), bf16 and f16.
 */
export const formats: { readonly [Name in FormatName]: FormatSpec } = Object.freeze({
  e4m3fn: makeSpec('e4m3fn', 4, 3, 7, 'fn'),
  e5m2: makeSpec('e5m2', 5, 2, 15, 'ieee'),
  e4m3: makeSpec('e4m3', 4, 3, 7, 'ieee'),
  e3m4: makeSpec('e3m4', 3, 4, 3, 'ieee'),
  e4m3fnuz: makeSpec('e4m3fnuz', 4, 3, 8, 'fnuz'),
  e5m2fnuz: makeSpec('e5m2fnuz', 5, 2, 16, 'fnuz'),
  e4m3b11fnuz: makeSpec('e4m3b11fnuz', 4, 3, 11, 'fnuz'),
  e8m0fnu: makeSpec('e8m0fnu', 8, 0, 127, 'scale'),
  e5m6: makeSpec('e5m6', 5, 6, 15, 'ieee'),
  e2m3fn: makeSpec('e2m3fn', 2, 3, 1, 'none'),
  e3m2fn: makeSpec('e3m2fn', 3, 2, 3, 'none'),
  e2m1fn: makeSpec('e2m1fn', 2, 1, 1, 'none'),
  bf16: makeSpec('bf16', 8, 7, 127, 'ieee'),
  f16: makeSpec('f16', 5, 10, 15, 'ieee'),
});

/** The spec of `format`; an unknown name is an {@link Fp8Error}. */
export function formatSpec(format: Format): FormatSpec {
  if (typeof format !== 'string') return format;
  if (Object.hasOwn(formats, format)) return formats[format];
  throw new Fp8Error({
    code: 'fp8/unknown-format',
    message: `unknown format ${quoted(String(format))}`,
    value: format,
    remedy: `use one of ${Object.keys(formats).join(', ')} or defineFormat()`,
  });
}

/** A zeroed code array of the storage width that `spec` uses. */
export function allocateCodes(spec: FormatSpec, length: number): Codes {
  return spec.bits <= 8 ? new Uint8Array(length) : new Uint16Array(length);
}

/** Checks that `codes` has the storage width of `spec`. */
export function checkCodesWidth(spec: FormatSpec, codes: Codes, what: string): void {
  const wanted = spec.bits <= 8 ? 'Uint8Array' : 'Uint16Array';
  const matches = spec.bits <= 8 ? codes instanceof Uint8Array : codes instanceof Uint16Array;
  if (matches) return;
  const seen = Object.prototype.toString.call(codes).slice(8, -1);
  throw new Fp8Error({
    code: 'fp8/bad-codes',
    message: `expected ${what} of ${spec.name} as ${wanted}, got ${seen}`,
    value: seen,
    remedy: `${spec.name} codes take ${spec.bits} bits: pass a ${wanted}`,
  });
}
