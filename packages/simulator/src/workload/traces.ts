import { SimulatorError } from '../errors.js';
import type { SimulatedRequest } from './request-source.js';

const MAX_LINE = 1 << 20;
const MAX_TOKENS = 1 << 24;
const MAX_BLOCKS = 1 << 16;
const MAX_TIME = 1e15;

/**
 * Reads a Mooncake trace: JSON lines with `timestamp` (ms), `input_length`, `output_length` and `hash_ids`.
 *
 * @throws SimulatorError `simulator/bad-trace` naming the line; nothing is skipped.
 */
export function* readMooncakeTrace(lines: Iterable<string>): Generator<SimulatedRequest> {
  let number = 0;
  let previousUs = 0;
  for (const line of lines) {
    number++;
    if (line.trim() === '') continue;
    const row = parseLine(line, number);
    const arrivalUs = integer(row['timestamp'], 0, MAX_TIME / 1e3, 'timestamp', number) * 1000;
    const blocks = row['hash_ids'] ?? [];
    if (!Array.isArray(blocks) || blocks.length > MAX_BLOCKS) {
      throw badTrace(`expected at most ${MAX_BLOCKS} hash_ids in line ${number}`, line.slice(0, 100));
    }
    for (const id of blocks) integer(id, 0, Number.MAX_SAFE_INTEGER, 'hash_ids', number);
    previousUs = ascending(arrivalUs, previousUs, number);
    yield {
      arrivalUs,
      inputTokens: integer(row['input_length'], 1, MAX_TOKENS, 'input_length', number),
      outputTokens: integer(row['output_length'], 1, MAX_TOKENS, 'output_length', number),
      blocks: blocks as number[],
      cachedTokens: 0,
    };
  }
}

/**
 * Reads CSV with a header and one request a line. Columns: `arrival_us` or Azure's `TIMESTAMP` (date and time, re-based to the first line), then
 * `input_tokens`/`ContextTokens` and `output_tokens`/`GeneratedTokens`, in any order.
 *
 * @throws SimulatorError `simulator/bad-trace` naming the line.
 */
export function* readCsvTrace(lines: Iterable<string>): Generator<SimulatedRequest> {
  let columns: { arrival: number; input: number; output: number; dated: boolean } | undefined;
  let number = 0;
  let startUs: number | undefined;
  let previousUs = 0;
  for (const line of lines) {
    number++;
    if (line.length > MAX_LINE) throw badTrace(`expected lines of at most ${MAX_LINE} characters`, number);
    const text = number === 1 ? line.replace(/^\uFEFF/, '').trim() : line.trim();
    if (text === '') continue;
    const cells = text.split(',');
    if (columns === undefined) {
      columns = readHeader(cells, number);
      continue;
    }
    const cell = (index: number): string => cells[index]?.trim() ?? '';
    let arrivalUs: number;
    if (columns.dated) {
      const absoluteUs = microseconds(cell(columns.arrival), number);
      startUs ??= absoluteUs;
      arrivalUs = absoluteUs - startUs;
    } else {
      arrivalUs = integer(toNumber(cell(columns.arrival)), 0, MAX_TIME, 'arrival_us', number);
    }
    previousUs = ascending(arrivalUs, previousUs, number);
    yield {
      arrivalUs,
      inputTokens: integer(toNumber(cell(columns.input)), 1, MAX_TOKENS, 'input tokens', number),
      outputTokens: integer(toNumber(cell(columns.output)), 1, MAX_TOKENS, 'output tokens', number),
      blocks: [],
      cachedTokens: 0,
    };
  }
}

/** Lines of a text, with either line ending, without building them all at once. */
export function* linesOf(text: string): Generator<string> {
  let start = 0;
  while (start < text.length) {
    let end = text.indexOf('\n', start);
    if (end < 0) end = text.length;
    yield text.slice(start, text[end - 1] === '\r' && end > start ? end - 1 : end);
    start = end + 1;
  }
}

function parseLine(line: string, number: number): Record<string, unknown> {
  if (line.length > MAX_LINE) throw badTrace(`expected lines of at most ${MAX_LINE} characters`, number);
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw badTrace(`expected JSON in line ${number}`, line.slice(0, 100), cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badTrace(`expected an object in line ${number}`, line.slice(0, 100));
  }
  return value as Record<string, unknown>;
}

function readHeader(
  cells: readonly string[],
  number: number,
): { arrival: number; input: number; output: number; dated: boolean } {
  const names = cells.map((cell) => cell.trim().toLowerCase());
  const find = (...candidates: string[]): number => names.findIndex((name) => candidates.includes(name));
  const arrival = find('arrival_us', 'timestamp');
  const input = find('input_tokens', 'contexttokens');
  const output = find('output_tokens', 'generatedtokens');
  if (arrival < 0 || input < 0 || output < 0) {
    const expected =
      'a header with arrival_us or TIMESTAMP, input_tokens or ContextTokens, output_tokens or GeneratedTokens';
    throw badTrace(`expected ${expected} in line ${number}`, cells.join(',').slice(0, 100));
  }
  return { arrival, input, output, dated: names[arrival] === 'timestamp' };
}

/** Azure writes seven digits of a second; dates hold milliseconds, so the fraction is read apart. */
function microseconds(text: string, number: number): number {
  const match = /^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:Z|\+00:00)?$/.exec(text);
  const seconds = match === null ? Number.NaN : Date.parse(`${match[1]}T${match[2]}Z`);
  if (match === null || Number.isNaN(seconds)) {
    throw badTrace(`expected a date and time in line ${number}`, text.slice(0, 100));
  }
  return seconds * 1000 + Math.floor(Number(`0.${match[3] ?? '0'}`) * 1e6);
}

function toNumber(text: string): number {
  return /^\d{1,16}(\.0+)?$/.test(text) ? Number(text) : Number.NaN;
}

function integer(value: unknown, minimum: number, maximum: number, name: string, line: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < minimum || value > maximum) {
    throw badTrace(
      `expected an integer from ${minimum} to ${maximum} for ${name} in line ${line}`,
      typeof value === 'number' ? value : String(value).slice(0, 100),
    );
  }
  return value;
}

function ascending(arrivalUs: number, previousUs: number, line: number): number {
  if (arrivalUs < previousUs) {
    throw badTrace(
      `expected arrivals in ascending order, line ${line} is earlier than the one before`,
      arrivalUs,
    );
  }
  return arrivalUs;
}

function badTrace(message: string, value: unknown, cause?: unknown): SimulatorError {
  return new SimulatorError({
    code: 'simulator/bad-trace',
    message,
    value,
    remedy: 'correct or remove that line',
    ...(cause === undefined ? {} : { cause }),
  });
}
