import { SimulatorError } from '../errors.js';

/** Value of a flag: `true` stands alone, lists are several words, objects one word of JSON. */
export type FlagValue = string | number | true | readonly number[] | { readonly [key: string]: unknown };

/** Flags without their dashes, in the order in which they are written. */
export type Flags = Readonly<Record<string, FlagValue | undefined>>;

/** Words of a command line. */
export function flagWords(flags: Flags): string[][] {
  const words: string[][] = [];
  for (const [name, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    const flag = `--${name}`;
    if (value === true) words.push([flag]);
    else if (Array.isArray(value)) words.push([flag, ...value.map(String)]);
    else if (typeof value === 'object') words.push([flag, JSON.stringify(value)]);
    else words.push([flag, String(value)]);
  }
  return words;
}

/**
 * A word as a POSIX shell reads it. `$NAME`, `${NAME}` and `$((...))` stay to be expanded: that is how a script learns its rank and
 * the address of the first node, and no other input may bring a dollar sign in.
 */
export function shellWord(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  if (/\$(\w+|\{\w+\}|\(\([\w* +]+\)\))/.test(word) && /^[\w@%+=:,./${}()* -]+$/.test(word))
    return `"${word}"`;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A command over several lines, a flag a line. */
export function shellCommand(program: readonly string[], flags: Flags): string {
  const lines = [
    program.map(shellWord).join(' '),
    ...flagWords(flags).map((words) => words.map(shellWord).join(' ')),
  ];
  return lines.join(' \\\n  ');
}

/** Refuses text that would not survive in a script or a manifest. */
export function checkText(name: string, text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused.
  if (text.length > 0 && text.length <= 1024 && !/[\u0000-\u001f\u007f$`]/.test(text)) return text;
  throw new SimulatorError({
    code: 'simulator/bad-config',
    message: `expected ${name} of 1 to 1024 printable characters without $ and backticks, got ${JSON.stringify(text.slice(0, 80))}`,
    value: text.slice(0, 80),
    remedy: `pass another ${name}`,
  });
}
