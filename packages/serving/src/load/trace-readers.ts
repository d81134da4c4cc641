import { createHash } from 'node:crypto';
import { MOONCAKE_BLOCK_TOKENS, readRequestTrace, type TraceProblem } from '@moestack/schemas';
import { clip, ServingError } from '../errors.js';
import type { LoadTrace, TraceLimits, TraceRequest } from './trace.js';

const MAX_BYTES = 256 * 2 ** 20;
const MAX_REQUESTS = 1_000_000;

/**
 * Reads a trace in the format that its first line shows: JSON objects are Mooncake's (one a line with `timestamp` in ms, `input_length`,
 * `output_length` and `hash_ids`, one for each 512 tokens of prompt), anything else is a CSV of Azure's LLM inference traces
 * (`TIMESTAMP,ContextTokens,GeneratedTokens` as published, or `arrival_us,input_tokens,output_tokens`).
 *
 * @throws `ServingError` `serving/bad-trace` naming the line.
 */
export function parseTrace(name: string, bytes: Uint8Array, limits: TraceLimits = {}): LoadTrace {
  const { maxBytes = MAX_BYTES, maxRequests = MAX_REQUESTS } = limits;
  if (bytes.length > maxBytes) throw badTrace('the trace', `at most ${maxBytes} bytes`, String(bytes.length));
  if (bytes.length === 0) throw badLine({ line: 1, expected: 'a request or a header', got: 'an empty file' });
  const requests: TraceRequest[] = [];
  for (const request of readRequestTrace(linesOf(bytes), { fail: badLine })) {
    requests.push(request);
    if (requests.length === maxRequests) break;
  }
  return finish(name, bytes, requests);
}

function finish(name: string, bytes: Uint8Array, requests: TraceRequest[]): LoadTrace {
  // Some published rows are out of order; a stable sort keeps equal times as they are.
  requests.sort((a, b) => a.arrivalUs - b.arrivalUs);
  const startUs = requests[0]?.arrivalUs ?? 0;
  const rebased =
    startUs === 0
      ? requests
      : requests.map((request) => ({ ...request, arrivalUs: request.arrivalUs - startUs }));
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { name, sha256, hashBlockTokens: MOONCAKE_BLOCK_TOKENS, requests: rebased };
}

function* linesOf(bytes: Uint8Array): Generator<string> {
  const decoder = new TextDecoder();
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline < 0 ? bytes.length : newline;
    yield decoder.decode(bytes.subarray(start, end));
    start = end + 1;
  }
}

function badLine({ line, expected, got }: TraceProblem): ServingError {
  return badTrace(`line ${line} of the trace`, expected, got);
}

function badTrace(place: string, expected: string, got: string): ServingError {
  return new ServingError({
    code: 'serving/bad-trace',
    message: `expected ${expected} in ${place}, got ${clip(got)}`,
    value: clip(got),
    remedy: 'pass a Mooncake JSONL trace or an Azure CSV trace, and check the line',
    status: 400,
  });
}
