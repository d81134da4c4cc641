/** One request of a trace: when it arrives and how long it is. There is no text in a trace. */
export interface TraceRequest {
  /** Microseconds; from the start of the trace, or since 1970 where it holds dates. */
  readonly arrivalUs: number;
  readonly inputTokens: number;
  /** At least 1. */
  readonly outputTokens: number;
  /** Names of the blocks of the prompt; requests share a prefix as far as these agree. Absent: nothing is known to be shared. */
  readonly hashIds?: readonly number[];
}

/** Why {@link readRequestTrace} cannot read a line. */
export interface TraceProblem {
  /** From 1. */
  readonly line: number;
  readonly expected: string;
  readonly got: string;
}

/** Options of {@link readRequestTrace}. */
export interface ReadTraceOptions {
  /** The error to throw. */
  readonly fail: (problem: TraceProblem) => Error;
  /** Tokens that an entry of `hash_ids` stands for at least: bounds how many a prompt may have. Default 512, as Mooncake publishes. */
  readonly hashBlockTokens?: number;
}

/** Tokens of one hashed block in Mooncake's published traces. */
export const MOONCAKE_BLOCK_TOKENS = 512;

const MAX_LINE_CHARACTERS = 1 << 20;
const MAX_TOKENS = 2 ** 30;
const MAX_TIME_US = Number.MAX_SAFE_INTEGER;

type Fields = Readonly<Record<'arrival' | 'input' | 'output' | 'count', number>> & {
  readonly isDated: boolean;
};
type Reject = (expected: string, got: unknown) => Error;

/**
 * Reads requests in the format that the first line shows, one at a time and in the order of the file.
 *
 * Lines of JSON are Mooncake's: `timestamp` (ms), `input_length`, `output_length` and `hash_ids`. Anything else is CSV with a header that names
 * `TIMESTAMP`, `ContextTokens` and `GeneratedTokens` as Azure does, or `arrival_us`, `input_tokens` and `output_tokens`, in any order. Published rows
 * without an answer count as answers of one token. Blank lines are skipped.
 *
 * @param lines - with or without their ends.
 */
export function* readRequestTrace(
  lines: Iterable<string>,
  { fail, hashBlockTokens = MOONCAKE_BLOCK_TOKENS }: ReadTraceOptions,
): Generator<TraceRequest> {
  let line = 0;
  let isJson: boolean | undefined;
  let fields: Fields | undefined;
  const reject: Reject = (expected, got) => fail({ line, expected, got: textOf(got) });
  for (const raw of lines) {
    line++;
    if (raw.length > MAX_LINE_CHARACTERS)
      throw reject(`at most ${MAX_LINE_CHARACTERS} characters a line`, raw.length);
    const text = raw.trim();
    if (text === '') continue;
    isJson ??= text.startsWith('{');
    if (isJson) yield mooncakeRequest(text, hashBlockTokens, reject);
    else if (fields === undefined) fields = csvFields(text, reject);
    else yield csvRequest(text, fields, reject);
  }
}

function mooncakeRequest(text: string, hashBlockTokens: number, reject: Reject): TraceRequest {
  const { timestamp, input_length, output_length, hash_ids } = jsonObject(text, reject);
  const arrivalUs = Math.round(time('timestamp', timestamp, MAX_TIME_US / 1000, reject) * 1000);
  const inputTokens = tokens('input_length', input_length, 1, reject);
  const outputTokens = Math.max(1, tokens('output_length', output_length, 0, reject));
  if (hash_ids === undefined) return { arrivalUs, inputTokens, outputTokens };
  const most = Math.ceil(inputTokens / hashBlockTokens);
  if (!Array.isArray(hash_ids) || hash_ids.length > most || !hash_ids.every(Number.isSafeInteger))
    throw reject(`at most ${most} integers in hash_ids`, hash_ids);
  return { arrivalUs, inputTokens, outputTokens, hashIds: hash_ids as number[] };
}

function jsonObject(text: string, reject: Reject): Record<string, unknown> {
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch {
    throw reject('a JSON object', text);
  }
  if (typeof row === 'object' && row !== null && !Array.isArray(row)) return row as Record<string, unknown>;
  throw reject('a JSON object', text);
}

function csvFields(text: string, reject: Reject): Fields {
  const names = text.toLowerCase().replaceAll(/["\s]/g, '').split(',');
  const arrival = names.findIndex((name) => name === 'arrival_us' || name === 'timestamp');
  const input = names.findIndex((name) => name === 'input_tokens' || name === 'contexttokens');
  const output = names.findIndex((name) => name === 'output_tokens' || name === 'generatedtokens');
  if (arrival < 0 || input < 0 || output < 0) {
    const azure = 'TIMESTAMP,ContextTokens,GeneratedTokens';
    throw reject(`a header such as ${azure} or arrival_us,input_tokens,output_tokens`, text);
  }
  return { arrival, input, output, count: names.length, isDated: names[arrival] === 'timestamp' };
}

function csvRequest(text: string, fields: Fields, reject: Reject): TraceRequest {
  const cells = text.split(',');
  if (cells.length !== fields.count) throw reject(`${fields.count} fields`, text);
  const arrival = cells[fields.arrival]!;
  const arrivalUs = fields.isDated
    ? dateUs(arrival, reject)
    : Math.round(time('arrival_us', cellValue(arrival), MAX_TIME_US, reject));
  return {
    arrivalUs,
    inputTokens: tokens('input_tokens', cellValue(cells[fields.input]!), 1, reject),
    outputTokens: Math.max(1, tokens('output_tokens', cellValue(cells[fields.output]!), 0, reject)),
  };
}

/** The number in a cell, or its text where there is none; blank text is no number, though `Number` makes it 0. */
function cellValue(text: string): number | string {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  return Number.isNaN(value) ? text : value;
}

function time(name: string, value: unknown, most: number, reject: Reject): number {
  if (typeof value === 'number' && value >= 0 && value <= most) return value;
  throw reject(`a number from 0 to ${most} for ${name}`, value);
}

function tokens(name: string, value: unknown, least: number, reject: Reject): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= MAX_TOKENS)
    return value;
  throw reject(`an integer from ${least} to ${MAX_TOKENS} for ${name}`, value);
}

/** `2023-11-16 18:15:46.6805900` in UTC. Dates hold milliseconds, so the fraction of a second is read apart. */
function dateUs(text: string, reject: Reject): number {
  const match = /^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(\.\d{1,9})?(?:Z|\+00:00)?$/.exec(text.trim());
  const milliseconds = match === null ? Number.NaN : Date.parse(`${match[1]}T${match[2]}Z`);
  const microseconds = milliseconds * 1000 + Math.round(Number(`0${match?.[3] ?? ''}`) * 1e6);
  if (microseconds >= 0 && microseconds <= MAX_TIME_US) return microseconds;
  throw reject('a time such as 2023-11-16 18:15:46.68, from 1970 to 2255', text);
}

function textOf(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');
  return text.slice(0, 100);
}
