import {
  dequantize,
  encode,
  type FormatName,
  packNibbles,
  quantize,
  requantize,
  type Scheme,
  unpackNibbles,
} from '@moestack/fp8';
import { describe, expect, test } from 'vitest';
import {
  type ArrayReference,
  bf16Bits,
  bits,
  f32,
  type GoldenCase,
  quantCases,
  u8,
} from './golden-arrays.js';

const scaleFormats = { f32: ['f32'], ue8m0: ['powerOfTwo', 'e8m0fnu'] } as const;

function casesOf(op: string): { name: string; golden: GoldenCase }[] {
  return quantCases
    .filter((golden) => golden.op === op)
    .map((golden, i) => {
      const facts = Object.values(golden).filter((value) => typeof value !== 'object');
      return { name: `${facts.join(' ')} #${i}`, golden };
    });
}

function shapeOf(golden: GoldenCase, name: string): [number, number] {
  return (golden[name] as ArrayReference).shape as [number, number];
}

function scalesIn(golden: GoldenCase): readonly ('f32' | 'powerOfTwo' | 'e8m0fnu')[] {
  return scaleFormats[golden['scale'] as 'f32' | 'ue8m0'];
}

describe.each(casesOf('act_quant_1x128'))('$name', ({ golden }) => {
  const shape = shapeOf(golden, 'x');
  test.each(scalesIn(golden))('codes, scales and values with %s scales', (scale) => {
    const divided = quantize(f32(golden, 'x'), shape, { kind: 'tile', tile: [1, 128], scale });
    expect(bits(divided.scales)).toEqual(bits(f32(golden, 's')));
    expect(divided.codes).toEqual(u8(golden, 'q_div'));
    // dq belongs to one of the two orders; they have the same scales.
    const multiplied = quantize(f32(golden, 'x'), shape, { kind: 'tile', order: 'reciprocal', scale });
    expect(multiplied.codes).toEqual(u8(golden, 'q_recip'));
    expect(bits(dequantize(divided))).toEqual(bits(f32(golden, 'dq')));
    if (scale === 'e8m0fnu') {
      expect(divided.scaleCodes).toEqual(encode('e8m0fnu', divided.scales));
    }
  });
});

test.each(casesOf('act_quant_1x128_ragged'))('ragged: $name', ({ golden }) => {
  const q = quantize(f32(golden, 'x'), shapeOf(golden, 'x'), { kind: 'tile', order: 'reciprocal' });
  expect(bits(q.scales)).toEqual(bits(f32(golden, 's')));
  expect(q.codes).toEqual(u8(golden, 'q_recip'));
});

test.each(casesOf('weight_quant_128x128'))('$name', ({ golden }) => {
  const [scale] = scalesIn(golden);
  const scheme: Scheme = { kind: 'tile', tile: [128, 128], order: 'reciprocal', scale: scale! };
  const q = quantize(f32(golden, 'w'), shapeOf(golden, 'w'), scheme);
  expect(bits(q.scales)).toEqual(bits(f32(golden, 's')));
  expect(q.codes).toEqual(u8(golden, 'q_recip'));
  const values = dequantize(q);
  if (golden['dq_f32'] !== null) expect(bits(values)).toEqual(bits(f32(golden, 'dq_f32')));
  expect(bf16Bits(values)).toEqual(bf16Bits(f32(golden, 'dq_bf16')));
});

test.each(casesOf('requant_1x128_to_128x1'))('$name', ({ golden }) => {
  const scale = scalesIn(golden)[0]!;
  const rows = quantize(f32(golden, 'x'), shapeOf(golden, 'x'), { kind: 'tile', scale });
  expect(rows.codes).toEqual(u8(golden, 'q1'));
  expect(bits(rows.scales)).toEqual(bits(f32(golden, 's1')));
  const columns = requantize(rows, { kind: 'tile', tile: [128, 1], scale });
  expect(columns.codes).toEqual(u8(golden, 'q2'));
  expect(bits(columns.scales)).toEqual(bits(f32(golden, 's2')));
  const before = dequantize(rows);
  const changed = dequantize(columns).reduce((n, value, i) => n + (value === before[i] ? 0 : 1), 0);
  expect(changed / before.length).toBe(golden['fractionChanged']);
});

test.each(casesOf('mx_quant_1x32'))('$name', ({ golden }) => {
  const format = (golden['elem'] as string).replace(/^float\d+_/, '') as FormatName;
  const rule = golden['rule'] as 'floor' | 'ceil';
  const q = quantize(f32(golden, 'x'), shapeOf(golden, 'x'), { kind: 'mx', format, rule });
  expect(q.scaleCodes).toEqual(u8(golden, 's_e8m0'));
  expect(q.codes).toEqual(u8(golden, 'q'));
  expect(bits(dequantize(q))).toEqual(bits(f32(golden, 'dq')));
});

test.each(casesOf('nvfp4_quant_1x16'))('$name', ({ golden }) => {
  const q = quantize(f32(golden, 'x'), shapeOf(golden, 'x'), { kind: 'nvfp4' });
  expect(q.globalScale).toBe(golden['globalScale']);
  expect(q.scaleCodes).toEqual(u8(golden, 's_e4m3'));
  expect(q.codes).toEqual(u8(golden, 'q'));
  const packed = packNibbles(q.codes as Uint8Array);
  expect(packed).toEqual(u8(golden, 'packed'));
  expect(unpackNibbles(packed)).toEqual(q.codes);
});
