import { decodeTable, type FormatName, formats } from '@moestack/fp8';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { classOf, codeFields, hexCode } from './code-fields.js';
import { inputWords, jsonNumber, numberText, parseCode, type TextInput } from './number-input.js';

/** Decodes codes and shows their fields. */
export async function decode(
  format: FormatName,
  words: readonly string[],
  reporter: Reporter,
  stdin: TextInput | undefined,
): Promise<void> {
  const spec = formats[format];
  const codes = (await inputWords(words, stdin)).map((word) => parseCode(word, spec.bits));
  const table = decodeTable(format);
  const results = codes.map((code) => {
    const value = table[code]!;
    return {
      code,
      hex: hexCode(spec, code),
      fields: codeFields(spec, code),
      value,
      class: classOf(spec, value),
    };
  });
  reporter.result(
    { event: 'decoded', format, results: results.map((row) => ({ ...row, value: jsonNumber(row.value) })) },
    textTable(
      ['<code', '<fields', 'value', '<class'],
      results.map((row) => [row.hex, row.fields, numberText(row.value), row.class]),
    ),
  );
}
