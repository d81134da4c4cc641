import { createHash } from 'node:crypto';
import { clip, ServingError } from '../errors.js';
import type { LoadTrace, TraceLimits, TraceRequest } from './trace.js';

/** Tokens of one hashed block in the published traces. */
const MOONCAKE_BLOCK_TOKENS = 512;
const MAX_BYTES = 256 * 2 ** 20;
const MAX_REQUESTS = 1_000_000;
const MAX_LINE_CHARACTERS = 1 << 20;
const MAX_TOKENS = 2 ** 30;
const MAX_TIME_US = Number.MAX_SAFE_INTEGER;

/**
 * Reads a trace in the format that its first line shows: JSON objects are Mooncake's, anything else is a CSV of Azure's.
 *
 * @throws `ServingError` `serving/bad-trace` naming the line.
 */
export function parseTrace(name: string, bytes: Uint8Array, limits: TraceLimits = {}): LoadTrace {
  let at = 0;
  while (at < bytes.length && bytes[at]! <= 0x20) at++;
  return bytes[at] === 0x7b ? parseMooncakeTrace(name, bytes, limits) : parseAzureTrace(name, bytes, limits);
}

/**
 * Reads a trace of the Mooncake project: one JSON object a line with `timestamp` (ms), `input_length`, `output_length`
 * and `hash_ids`, one for each 512 tokens of prompt.
 *
 * @throws `ServingError` `serving/bad-trace` naming the line.
 */
export function parseMooncakeTrace(name: string, bytes: Uint8Array, limits: TraceLimits = {}): LoadTrace {
  const requests = readLines(bytes, limits, 0, (line, at) => {
    const row = parseJson(line, at);
    const { timestamp, input_length, output_length, hash_ids } = row;
    const arrivalUs = Math.round(finite('timestamp', timestamp, MAX_TIME_US / 1000, at) * 1000);
    const inputTokens = length('input_length', input_length, 1, at);
    const outputTokens = Math.max(1, length('output_length', output_length, 0, at));
    if (hash_ids === undefined) return { arrivalUs, inputTokens, outputTokens };
    const most = Math.ceil(inputTokens / MOONCAKE_BLOCK_TOKENS);
    if (!Array.isArray(hash_ids) || hash_ids.length > most || !hash_ids.every(Number.isSafeInteger)) {
      throw badTrace(at, `at most ${most} integers in hash_ids`, JSON.stringify(hash_ids));
    }
    return { arrivalUs, inputTokens, outputTokens, hashIds: hash_ids as number[] };
  });
  return finish(name, bytes, requests);
}

/**
 * Reads a CSV of the Azure LLM inference traces: `TIMESTAMP,ContextTokens,GeneratedTokens` as published, or
 * `arrival_us,input_tokens,output_tokens`.
 *
 * @throws `ServingError` `serving/bad-trace` naming the line.
 */
export function parseAzureTrace(name: string, bytes: Uint8Array, limits: TraceLimits = {}): LoadTrace {
  let isPublished = false;
  const requests = readLines(bytes, limits, 1, (line, at) => {
    if (at === 1) {
      const header = line
        .replace(/^\uFEFF/, '')
        .toLowerCase()
        .replaceAll(/["\s]/g, '');
      isPublished = header === 'timestamp,contexttokens,generatedtokens';
      if (!isPublished && header !== 'arrival_us,input_tokens,output_tokens') {
        throw badTrace(at, 'the header TIMESTAMP,ContextTokens,GeneratedTokens', line);
      }
      return undefined;
    }
    const fields = line.split(',');
    if (fields.length !== 3) throw badTrace(at, 'three fields', line);
    const [time, input, output] = fields as [string, string, string];
    const arrivalUs = isPublished
      ? timestampUs(time, at)
      : finite('arrival_us', number(time), MAX_TIME_US, at);
    return {
      arrivalUs: Math.round(arrivalUs),
      inputTokens: length('input_tokens', number(input), 1, at),
      outputTokens: Math.max(1, length('output_tokens', number(output), 0, at)),
    };
  });
  return finish(name, bytes, requests);
}

function finish(name: string, bytes: Uint8Array, requests: TraceRequest[]): LoadTrace {
  // Some published rows are out of order; a stable sort keeps equal times as they are.
  requests.sort((a, b) => a.arrivalUs - b.arrivalUs);
  const startUs = requests[0]?.arrivalUs ?? 0;
  const spanUs = (requests.at(-1)?.arrivalUs ?? startUs) - startUs;
  if (spanUs > MAX_TIME_US) throw badTrace(0, `times within ${MAX_TIME_US} us of each other`, String(spanUs));
  const rebased =
    startUs === 0
      ? requests
      : requests.map((request) => ({ ...request, arrivalUs: request.arrivalUs - startUs }));
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { name, sha256, hashBlockTokens: MOONCAKE_BLOCK_TOKENS, requests: rebased };
}

function readLines(
  bytes: Uint8Array,
  limits: TraceLimits,
  headerLines: number,
  read: (line: string, lineNumber: number) => TraceRequest | undefined,
): TraceRequest[] {
  const { maxBytes = MAX_BYTES, maxRequests = MAX_REQUESTS } = limits;
  if (bytes.length > maxBytes) throw badTrace(0, `at most ${maxBytes} bytes`, String(bytes.length));
  const decoder = new TextDecoder();
  const requests: TraceRequest[] = [];
  let lineNumber = 0;
  for (let start = 0; start < bytes.length && requests.length < maxRequests; ) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline < 0 ? bytes.length : newline;
    lineNumber++;
    if (end - start > MAX_LINE_CHARACTERS) {
      throw badTrace(lineNumber, `at most ${MAX_LINE_CHARACTERS} bytes a line`, String(end - start));
    }
    const line = decoder.decode(bytes.subarray(start, end)).trim();
    start = end + 1;
    if (line === '') continue;
    const request = read(line, lineNumber);
    if (request !== undefined) requests.push(request);
  }
  if (lineNumber < headerLines) throw badTrace(1, 'a header line', 'an empty file');
  return requests;
}

function parseJson(line: string, at: number): Record<string, unknown> {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch {
    throw badTrace(at, 'a JSON object', line);
  }
  if (typeof row === 'object' && row !== null && !Array.isArray(row)) return row as Record<string, unknown>;
  throw badTrace(at, 'a JSON object', line);
}

/** Blank text is no number, though `Number` makes it 0. */
function number(text: string): number {
  return text.trim() === '' ? Number.NaN : Number(text);
}

function finite(name: string, value: unknown, most: number, at: number): number {
  if (typeof value === 'number' && value >= 0 && value <= most) return value;
  throw badTrace(at, `a number from 0 to ${most} for ${name}`, JSON.stringify(value) ?? 'nothing');
}

function length(name: string, value: unknown, least: number, at: number): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= MAX_TOKENS) {
    return value as number;
  }
  throw badTrace(
    at,
    `an integer from ${least} to ${MAX_TOKENS} for ${name}`,
    JSON.stringify(value) ?? 'nothing',
  );
}

/** `2023-11-16 18:15:46.6805900`, in UTC, with up to 7 digits of fraction. */
function timestampUs(text: string, at: number): number {
  const match = /^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(\.\d{1,9})?(?:Z|\+00:00)?$/.exec(text.trim());
  const ms = match === null ? Number.NaN : Date.parse(`${match[1]}T${match[2]}Z`);
  if (Number.isNaN(ms)) throw badTrace(at, 'a time such as 2023-11-16 18:15:46.68', text);
  return ms * 1000 + Math.round(Number(`0${match?.[3] ?? ''}`) * 1e6);
}

function badTrace(line: number, expected: string, got: string): ServingError {
  const place = line === 0 ? 'the trace' : `line ${line} of the trace`;
  return new ServingError({
    code: 'serving/bad-trace',
    message: `expected ${expected} in ${place}, got ${clip(got)}`,
    value: clip(got),
    remedy: 'pass a Mooncake JSONL trace or an Azure CSV trace, and check the line',
    status: 400,
  });
}
