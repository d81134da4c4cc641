import { Fp8Error, quoted } from './errors.js';
import type { FormatName, FormatSpec } from './format-spec.js';

/** How a value between two codes is rounded; `nearestEven` and `nearestAway` name what ties do. */
export type Rounding = 'nearestEven' | 'nearestAway' | 'towardZero' | 'up' | 'down' | 'stochastic';

/**
 * What values beyond the largest finite code become: `saturate` gives the largest code, also for infinity;
 * `nonSaturating` gives infinity, or NaN in formats without infinity, or the largest code in formats without both.
 */
export type Overflow = 'saturate' | 'nonSaturating';

/**
 * The exact behaviour of an outside implementation.
 *
 * - `ml_dtypes`: ml_dtypes 0.6.0. Non-saturating; NaN keeps its sign.
 * - `torch-2.13`: PyTorch 2.13 on CPU. e4m3fn saturates, e5m2 overflows to infinity, fnuz formats to NaN.
 * - `nvidia-satfinite`, `nvidia-nosat`: CUDA 13.0 headers; NaN becomes 0x7f, or +max in formats without NaN.
 * - `nvidia-rz`, `nvidia-rp` and their `-nosat` forms: CUDA 13.0 headers for e8m0fnu, toward zero or up; the sign is
 *   dropped and zero becomes code 0.
 *
 * Doubles are rounded once under every preset, even where the outside implementation goes through float32.
 */
export type Preset =
  | 'ml_dtypes'
  | 'torch-2.13'
  | 'nvidia-satfinite'
  | 'nvidia-nosat'
  | 'nvidia-rz'
  | 'nvidia-rp'
  | 'nvidia-rz-nosat'
  | 'nvidia-rp-nosat';

/** Everything an encoder needs beyond the format. */
export interface EncodePolicy {
  readonly rounding: Rounding;
  readonly saturates: boolean;
  /** Full codes, sign included. */
  readonly overflowPositive: number;
  readonly overflowNegative: number;
  readonly nanPositive: number;
  readonly nanNegative: number;
  /** `scale` formats only: what becomes of zero and of negative values. */
  readonly zeroAndSign: 'nan' | 'magnitude';
}

/** Options that choose an {@link EncodePolicy}. */
export interface PolicyOptions {
  readonly rounding?: Rounding;
  readonly overflow?: Overflow;
  readonly preset?: Preset;
}

const ROUNDINGS: readonly string[] = ['nearestEven', 'nearestAway', 'towardZero', 'up', 'down', 'stochastic'];
const NVIDIA_ELEMENTS: readonly FormatName[] = ['e4m3fn', 'e5m2', 'e2m3fn', 'e3m2fn', 'e2m1fn'];

/** Formats that each preset's source has. */
const presetFormats: { readonly [P in Preset]: readonly FormatName[] } = Object.freeze({
  ml_dtypes: [
    'e4m3fn',
    'e5m2',
    'e4m3',
    'e3m4',
    'e4m3fnuz',
    'e5m2fnuz',
    'e4m3b11fnuz',
    'e8m0fnu',
    'e2m3fn',
    'e3m2fn',
    'e2m1fn',
    'bf16',
    'f16',
  ],
  'torch-2.13': ['e4m3fn', 'e5m2', 'e4m3fnuz', 'e5m2fnuz', 'e8m0fnu', 'bf16', 'f16'],
  'nvidia-satfinite': NVIDIA_ELEMENTS,
  'nvidia-nosat': ['e4m3fn', 'e5m2'],
  'nvidia-rz': ['e8m0fnu'],
  'nvidia-rp': ['e8m0fnu'],
  'nvidia-rz-nosat': ['e8m0fnu'],
  'nvidia-rp-nosat': ['e8m0fnu'],
} as const);

/**
 * Resolves options to a policy.
 *
 * @throws {@link Fp8Error} for unknown names, a preset beside rounding or overflow, or one whose source lacks the
 * format.
 */
export function encodePolicy(spec: FormatSpec, options: PolicyOptions): EncodePolicy {
  const { rounding, overflow, preset } = options;
  if (rounding !== undefined && !ROUNDINGS.includes(rounding)) {
    throw badOption('rounding', rounding, ROUNDINGS);
  }
  if (overflow !== undefined && overflow !== 'saturate' && overflow !== 'nonSaturating') {
    throw badOption('overflow', overflow, ['saturate', 'nonSaturating']);
  }
  if (preset !== undefined) return presetPolicy(spec, preset, options);
  // e8m0fnu follows ml_dtypes unless told otherwise, and ml_dtypes does not saturate.
  const saturates = (overflow ?? (spec.special === 'scale' ? 'nonSaturating' : 'saturate')) === 'saturate';
  return policy(spec, rounding ?? 'nearestEven', saturates, signedNaN(spec));
}

function presetPolicy(spec: FormatSpec, preset: Preset, options: PolicyOptions): EncodePolicy {
  if (!Object.hasOwn(presetFormats, preset)) throw badOption('preset', preset, Object.keys(presetFormats));
  if (options.rounding !== undefined || options.overflow !== undefined) {
    throw new Fp8Error({
      code: 'fp8/preset-conflict',
      message: `preset ${preset} fixes rounding and overflow, but one was given too`,
      value: preset,
      remedy: 'pass either a preset, or rounding and overflow',
    });
  }
  if (!(presetFormats[preset] as readonly string[]).includes(spec.name)) {
    throw new Fp8Error({
      code: 'fp8/preset-format',
      message: `preset ${preset} has no format ${spec.name}`,
      value: spec.name,
      remedy: `use it with ${presetFormats[preset].join(', ')}, or pass rounding and overflow`,
    });
  }
  switch (preset) {
    case 'ml_dtypes':
      return policy(
        spec,
        'nearestEven',
        false,
        spec.special === 'none' ? [spec.signBit, 0] : signedNaN(spec),
      );
    case 'torch-2.13':
      return {
        ...policy(spec, 'nearestEven', spec.name === 'e4m3fn', allOnesNaN(spec)),
        zeroAndSign: 'magnitude',
      };
    case 'nvidia-satfinite':
    case 'nvidia-nosat': {
      const nan = spec.special === 'none' ? spec.maxCode : spec.signBit - 1;
      return policy(spec, 'nearestEven', preset === 'nvidia-satfinite', [nan, nan]);
    }
    default: {
      const rounding = preset.startsWith('nvidia-rz') ? 'towardZero' : 'up';
      const saturates = !preset.endsWith('-nosat');
      return { ...policy(spec, rounding, saturates, signedNaN(spec)), zeroAndSign: 'magnitude' };
    }
  }
}

function policy(
  spec: FormatSpec,
  rounding: Rounding,
  saturates: boolean,
  [nanPositive, nanNegative]: readonly [number, number],
): EncodePolicy {
  const { special, maxCode, signBit } = spec;
  let overflowPositive = maxCode;
  let overflowNegative = maxCode | signBit;
  if (!saturates && special === 'ieee') {
    overflowPositive = maxCode + 1;
    overflowNegative = overflowPositive | signBit;
  } else if (!saturates && special !== 'none') {
    [overflowPositive, overflowNegative] = signedNaN(spec);
  }
  return {
    rounding,
    saturates,
    overflowPositive,
    overflowNegative,
    nanPositive,
    nanNegative,
    zeroAndSign: 'nan',
  };
}

/** NaN codes for a positive and a negative NaN: quiet where the format tells, +0 where it has no NaN. */
function signedNaN(spec: FormatSpec): readonly [number, number] {
  const { special, signBit, maxCode, mantissaBits } = spec;
  if (special === 'none') return [0, 0];
  if (special === 'fnuz') return [signBit, signBit];
  const nan = special === 'ieee' ? (maxCode + 1) | (2 ** (mantissaBits - 1)) : maxCode + 1;
  return [nan, nan | signBit];
}

function allOnesNaN(spec: FormatSpec): readonly [number, number] {
  if (spec.special === 'fnuz' || spec.special === 'scale') return signedNaN(spec);
  // torch keeps bf16 and f16 NaNs quiet; its 8-bit formats fill every bit.
  if (spec.bits === 16) return signedNaN(spec);
  return [spec.signBit - 1, spec.signBit * 2 - 1];
}

function badOption(name: string, value: string, known: readonly string[]): Fp8Error {
  return new Fp8Error({
    code: `fp8/bad-${name}`,
    message: `unknown ${name} ${quoted(String(value))}`,
    value,
    remedy: `use one of ${known.join(', ')}`,
  });
}
