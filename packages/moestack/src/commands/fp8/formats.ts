import { decodeTable, type FormatName, type FormatSpec, formats } from '@moestack/fp8';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { classOf, codeFields, hexCode } from './code-fields.js';
import { jsonNumber, numberText } from './number-input.js';

/** Wider formats have too many codes to list. */
const LISTED_BITS = 8;

/** Prints the table of all formats, or one format with its codes. */
export function listFormats(name: FormatName | undefined, reporter: Reporter): void {
  const described = (name === undefined ? Object.values(formats) : [formats[name]]).map(describe);
  const lines = textTable(
    ['<format', 'bits', '<layout', 'bias', 'largest', 'smallest normal', 'smallest', '<specials'],
    described.map((row) => [
      row.name,
      String(row.bits),
      row.layout,
      String(row.bias),
      row.largest < 1e6 ? String(row.largest) : row.largest.toPrecision(8),
      power(row.smallestNormal),
      power(row.smallest),
      row.specials,
    ]),
  );
  const codes = name === undefined || formats[name].bits > LISTED_BITS ? [] : listCodes(name);
  if (codes.length > 0) {
    const rows = codes.map((row) => [row.hex, row.fields, numberText(row.value), row.class]);
    lines.push('', ...textTable(['<code', '<fields', 'value', '<class'], rows));
  }
  const values = codes.map((row) => ({ ...row, value: jsonNumber(row.value) }));
  reporter.result(
    { event: 'formats', formats: described, ...(codes.length > 0 && { codes: values }) },
    lines,
  );
}

function describe(spec: FormatSpec) {
  const { name, bits, exponentBits, mantissaBits, bias, max, special, signBit } = spec;
  const isScale = special === 'scale';
  const smallestNormal = 2 ** (isScale ? -bias : 1 - bias);
  return {
    name,
    bits,
    layout: `${signBit === 0 ? '' : '1-'}${exponentBits}-${mantissaBits}`,
    bias,
    largest: max,
    smallestNormal,
    smallest: isScale ? smallestNormal : 2 ** (1 - bias - mantissaBits),
    specials: SPECIALS[special],
  };
}

const SPECIALS: { readonly [Kind in FormatSpec['special']]: string } = Object.freeze({
  ieee: 'infinities and NaNs',
  fn: 'a NaN of each sign, no infinity',
  fnuz: 'one NaN, no infinity, no -0',
  none: 'none',
  scale: 'one NaN, no zero, no sign',
});

function listCodes(name: FormatName) {
  const spec = formats[name];
  return Array.from(decodeTable(name), (value, code) => ({
    code,
    hex: hexCode(spec, code),
    fields: codeFields(spec, code),
    value,
    class: classOf(spec, value),
  }));
}

function power(value: number): string {
  return `2^${Math.log2(value)}`;
}
