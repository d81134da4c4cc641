import {
  decodeTable,
  type EncodeOptions,
  encode as encodeValues,
  type FormatName,
  formats,
  SeededNumbers,
} from '@moestack/fp8';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { hexCode } from './code-fields.js';
import { inputWords, jsonNumber, numberText, parseNumber, type TextInput } from './number-input.js';

/** Options of `moestack fp8 encode`. */
export interface EncodeCommandOptions {
  readonly rounding?: NonNullable<EncodeOptions['rounding']>;
  readonly overflow?: NonNullable<EncodeOptions['overflow']>;
  readonly preset?: NonNullable<EncodeOptions['preset']>;
  readonly seed: number;
  readonly float32?: boolean;
}

/** Encodes numbers and shows what becomes of them. */
export async function encode(
  format: FormatName,
  words: readonly string[],
  options: EncodeCommandOptions,
  reporter: Reporter,
  stdin: TextInput | undefined,
): Promise<void> {
  const { rounding, overflow, preset, seed, float32 } = options;
  const numbers = (await inputWords(words, stdin)).map(parseNumber);
  const values = float32 === true ? Float32Array.from(numbers) : Float64Array.from(numbers);
  const random = new SeededNumbers(seed);
  const codes = encodeValues(format, values, {
    ...(rounding !== undefined && { rounding }),
    ...(overflow !== undefined && { overflow }),
    ...(preset !== undefined && { preset }),
    ...(rounding === 'stochastic' && { random: () => random.uniform() }),
  });
  const table = decodeTable(format);
  const spec = formats[format];
  const results = numbers.map((input, index) => {
    const code = codes[index]!;
    return { input, code, hex: hexCode(spec, code), value: table[code]! };
  });
  reporter.result(
    {
      event: 'encoded',
      format,
      results: results.map((row) => ({ ...row, input: jsonNumber(row.input), value: jsonNumber(row.value) })),
    },
    textTable(
      ['input', '<code', 'value', 'error'],
      results.map(({ input, hex, value }) => {
        const error = Number.isFinite(value) && Number.isFinite(input) ? value - input : undefined;
        const shown = error === undefined ? '-' : error === 0 ? '0' : error.toExponential(2);
        return [numberText(input), hex, numberText(value), shown];
      }),
    ),
  );
}
