import { CliError } from '../../errors.js';

/** Most text taken from standard input. */
const MAX_INPUT_BYTES = 2 ** 26;

/** Standard input, or a stand-in. */
export type TextInput = AsyncIterable<Uint8Array | string> & { readonly isTTY?: boolean };

/**
 * The words of the command line, or where there are none those of standard input, which white space or commas part.
 *
 * @throws {@link CliError} `cli/no-input` where there is neither.
 */
export async function inputWords(words: readonly string[], stdin: TextInput | undefined): Promise<string[]> {
  const given = words.length > 0 ? words.join(' ') : await readAll(stdin);
  const result = given.split(/[\s,]+/).filter((word) => word !== '');
  if (result.length > 0) return result;
  throw new CliError({
    code: 'cli/no-input',
    message: 'expected numbers on the command line or on standard input, got none',
    remedy: 'pass numbers, or pipe them in',
  });
}

async function readAll(stdin: TextInput | undefined): Promise<string> {
  // Waiting for someone to type would look like a hang.
  if (stdin === undefined || stdin.isTTY === true) return '';
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of stdin) {
    text += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    if (text.length > MAX_INPUT_BYTES) {
      throw new CliError({
        code: 'cli/input-too-long',
        message: `expected at most ${MAX_INPUT_BYTES} characters on standard input`,
        value: text.length,
        remedy: 'split the input, or use @moestack/fp8 from code',
      });
    }
  }
  return text;
}

/**
 * A number as JavaScript and C write it: `0.1`, `-1e-3`, `0x1f`, `inf`, `nan`, any case.
 *
 * @throws {@link CliError} `cli/bad-number`.
 */
export function parseNumber(word: string): number {
  const special = /^([+-]?)(inf|infinity|nan)$/i.exec(word);
  if (special !== null) {
    const magnitude = special[2]!.toLowerCase() === 'nan' ? Number.NaN : Number.POSITIVE_INFINITY;
    return special[1] === '-' ? -magnitude : magnitude;
  }
  const value = Number(word);
  if (!Number.isNaN(value)) return value;
  throw new CliError({
    code: 'cli/bad-number',
    message: `expected a number, got ${JSON.stringify(word.slice(0, 80))}`,
    value: word.slice(0, 80),
    remedy: 'write numbers as 0.1, -1e-3, inf or nan; negative words such as -inf go after --',
  });
}

/**
 * A code of `bits` bits: `126`, `0x7e`, `0b1111110`.
 *
 * @throws {@link CliError} `cli/bad-code`.
 */
export function parseCode(word: string, bits: number): number {
  const value = /^(0x[0-9a-f]+|0b[01]+|\d+)$/i.test(word) ? Number(word) : Number.NaN;
  if (value < 2 ** bits) return value;
  throw new CliError({
    code: 'cli/bad-code',
    message: `expected a code from 0 to ${2 ** bits - 1}, got ${JSON.stringify(word.slice(0, 80))}`,
    value: word.slice(0, 80),
    remedy: 'write codes as 126, 0x7e or 0b1111110',
  });
}

/** A number for JSON, which has no NaN and no infinity: those as text. */
export function jsonNumber(value: number): number | string {
  if (Number.isFinite(value)) return Object.is(value, -0) ? '-0' : value;
  return String(value);
}

/** A number for people: shortest form that gives it back, the sign of zero included. */
export function numberText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}
