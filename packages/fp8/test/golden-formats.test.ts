import { readFixture, readFixtureJson } from '@moestack/fixtures';
import {
  type Codes,
  decode,
  decodeTable,
  type EncodeOptions,
  encode,
  type FormatName,
  formats,
  type Preset,
} from '@moestack/fp8';
import { describe, expect, test } from 'vitest';

interface FormatCase {
  bits: number;
  max: number;
  minNormal: number;
  minSubnormal: number;
  nanCodes: number[];
  infCodes: number[];
  decode: string;
  encode: { in: string; refs: Record<string, string> };
  encode64?: { in: string; refs: Record<string, string> };
}

const cases = Object.entries(readFixtureJson<Record<string, FormatCase>>('fp8/formats.json')).map(
  ([name, data]) => ({ name: name.replace(/^float\d+_/, '') as FormatName, data }),
);

const modes: Record<string, EncodeOptions> = {
  exact_rne_sat: { rounding: 'nearestEven' },
  exact_rz_sat: { rounding: 'towardZero' },
  exact_ru_sat: { rounding: 'up' },
  exact_rd_sat: { rounding: 'down' },
  exact_rna_sat: { rounding: 'nearestAway' },
  exact_rne_nosat: { overflow: 'nonSaturating' },
  mldtypes: { preset: 'ml_dtypes' },
  torch213: { preset: 'torch-2.13' },
  nv_satfinite: { preset: 'nvidia-satfinite' },
  nv_nosat: { preset: 'nvidia-nosat' },
  nv_rz: { preset: 'nvidia-rz' },
  nv_rp: { preset: 'nvidia-rp' },
  nv_rz_nosat: { preset: 'nvidia-rz-nosat' },
  nv_rp_nosat: { preset: 'nvidia-rp-nosat' },
};

/** A copy, so that the bytes start their own buffer. */
function bytesOf(name: string): ArrayBuffer {
  return new Uint8Array(readFixture(`fp8/${name}`)).buffer;
}

function codesOf(name: string, bits: number): Codes {
  return bits <= 8 ? new Uint8Array(bytesOf(name)) : new Uint16Array(bytesOf(name));
}

/** Indices at which the codes differ other than by the payload of a NaN. */
function mismatches(codes: Codes, expected: Codes, data: FormatCase): number[] {
  const isNaNCode = new Set(data.nanCodes);
  const indices: number[] = [];
  for (let i = 0; i < expected.length; i++) {
    const same = codes[i] === expected[i] || (isNaNCode.has(codes[i]!) && isNaNCode.has(expected[i]!));
    if (!same) indices.push(i);
  }
  return indices;
}

describe.each(cases)('$name', ({ name, data }) => {
  test('has the limits of the reference', () => {
    const spec = formats[name];
    expect(spec.bits).toBe(data.bits);
    expect(spec.max).toBe(data.max);
    const positive = [...decodeTable(name)].filter((value) => value > 0);
    expect(Math.min(...positive)).toBe(data.minSubnormal);
  });

  test('decodes every code', () => {
    const expected = new Float32Array(bytesOf(data.decode));
    const codes = codesOf(data.decode, data.bits)
      .slice(0, expected.length)
      .map((_, code) => code);
    const values = decode(name, codes);
    expect(values.length).toBe(2 ** data.bits);
    for (const code of codes) expect(Object.is(values[code], expected[code]), `code ${code}`).toBe(true);
  });

  test.each(Object.entries(data.encode.refs).filter(([mode]) => !mode.startsWith('ort130')))(
    'encodes float32 as %s',
    (mode, file) => {
      const values = new Float32Array(bytesOf(data.encode.in));
      const expected = codesOf(file, data.bits);
      expect(mismatches(encode(name, values, modes[mode]!), expected, data)).toEqual([]);
      // The same values as doubles take the general path.
      const doubles = Float64Array.from(values);
      const numbers = values.findIndex(Number.isNaN) < 0 ? doubles : doubles.filter((x) => !Number.isNaN(x));
      const wanted = expected.filter((_, i) => !Number.isNaN(values[i]));
      expect(mismatches(encode(name, numbers, modes[mode]!), wanted, data)).toEqual([]);
    },
  );

  const { in: input64 = '', refs: refs64 = {} } = data.encode64 ?? {};
  for (const [mode, file] of Object.entries(refs64)) {
    if (mode === 'mldtypes_doublerounded') {
      test('rounds doubles once, where ml_dtypes goes through float32', () => {
        const values = new Float64Array(bytesOf(input64));
        const twice = codesOf(file, data.bits);
        const differing = mismatches(codesOf(refs64['exact_rne_nosat']!, data.bits), twice, data);
        expect(differing.length).toBeGreaterThan(0);
        expect(mismatches(encode(name, values, { overflow: 'nonSaturating' }), twice, data)).toEqual(
          differing,
        );
      });
    } else {
      test(`encodes float64 as ${mode}`, () => {
        const values = new Float64Array(bytesOf(input64));
        expect(mismatches(encode(name, values, modes[mode]!), codesOf(file, data.bits), data)).toEqual([]);
      });
    }
  }
});

test.each<[Preset, FormatName, number[], number[]]>([
  ['ml_dtypes', 'e4m3fn', [0x7f, 0xff], [0x7f, 0xff]],
  ['ml_dtypes', 'e5m2', [0x7e, 0xfe], [0x7c, 0xfc]],
  ['ml_dtypes', 'e2m3fn', [0x20, 0x00], [0x1f, 0x3f]],
  ['torch-2.13', 'e4m3fn', [0x7f, 0xff], [0x7e, 0xfe]],
  ['torch-2.13', 'e5m2', [0x7f, 0xff], [0x7c, 0xfc]],
  ['nvidia-satfinite', 'e4m3fn', [0x7f, 0x7f], [0x7e, 0xfe]],
  ['nvidia-nosat', 'e5m2', [0x7f, 0x7f], [0x7c, 0xfc]],
])('%s gives its own NaN and infinity codes in %s', (preset, format, nan, infinity) => {
  const nans = new Float32Array(Uint32Array.of(0x7fc00000, 0xffc00000).buffer);
  expect([...encode(format, nans, { preset })]).toEqual(nan);
  expect([...encode(format, Float32Array.of(Infinity, -Infinity), { preset })]).toEqual(infinity);
});
