import { readRequestTrace, type TraceProblem, type TraceRequest } from '@moestack/schemas';
import { SimulatorError } from '../errors.js';
import type { SimulatedRequest } from './request-source.js';

/**
 * Reads a trace in the format that its first line shows, re-based to its first request: JSON lines of Mooncake (`timestamp` in ms, `input_length`,
 * `output_length`, `hash_ids`), or CSV with a header that names `TIMESTAMP,ContextTokens,GeneratedTokens` as Azure does, or
 * `arrival_us,input_tokens,output_tokens`.
 *
 * @param options - `sort`: read all of it first and put arrivals in order, since some published rows are not; default false: one request at a time,
 * so that a trace of any length fits into memory.
 * @throws SimulatorError `simulator/bad-trace` naming the line; nothing is skipped.
 */
export function* readTrace(
  lines: Iterable<string>,
  options: { sort?: boolean } = {},
): Generator<SimulatedRequest> {
  // What a block of another trace holds is for the simulation to say; a block has at least one token.
  const rows = readRequestTrace(lines, { fail: badLine, hashBlockTokens: 1 });
  let startUs: number | undefined;
  let previousUs = Number.NEGATIVE_INFINITY;
  for (const { arrivalUs, inputTokens, outputTokens, hashIds = [] } of options.sort === true
    ? sorted(rows)
    : rows) {
    startUs ??= arrivalUs;
    if (arrivalUs < previousUs) throw outOfOrder(arrivalUs, previousUs);
    previousUs = arrivalUs;
    yield { arrivalUs: arrivalUs - startUs, inputTokens, outputTokens, blocks: hashIds, cachedTokens: 0 };
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

function sorted(rows: Iterable<TraceRequest>): TraceRequest[] {
  return [...rows].sort((a, b) => a.arrivalUs - b.arrivalUs);
}

function badLine({ line, expected, got }: TraceProblem): SimulatorError {
  return new SimulatorError({
    code: 'simulator/bad-trace',
    message: `expected ${expected} in line ${line} of the trace, got ${got}`,
    value: got,
    remedy: 'correct or remove that line',
  });
}

function outOfOrder(arrivalUs: number, previousUs: number): SimulatorError {
  return new SimulatorError({
    code: 'simulator/bad-trace',
    message: `expected arrivals in ascending order, got ${arrivalUs} us after ${previousUs} us`,
    value: arrivalUs,
    remedy: 'read the trace with { sort: true }',
  });
}
