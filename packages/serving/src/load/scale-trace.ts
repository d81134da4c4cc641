import { badOption } from '../errors.js';
import type { LoadTrace, TraceRequest, TraceScale } from './trace.js';

/**
 * Fits a trace to a machine: faster or slower arrivals, shorter prompts and answers. Shared prefixes shrink with the
 * prompts.
 *
 * @throws `ServingError` `serving/bad-options`.
 *
 * @example
 * ```ts
 * import { scaleTrace, syntheticTrace } from '@moestack/serving/load';
 *
 * const trace = syntheticTrace({ requests: 100, ratePerSecond: 10, inputTokens: 400, outputTokens: 100 });
 * console.log(scaleTrace(trace, { inputScale: 0.1, timeScale: 0.5 }).requests[0]?.inputTokens);
 * ```
 */
export function scaleTrace(trace: LoadTrace, scale: TraceScale): LoadTrace {
  const { timeScale = 1, inputScale = 1, outputScale = 1 } = scale;
  positive('timeScale', timeScale);
  positive('inputScale', inputScale);
  positive('outputScale', outputScale);
  const maxInputTokens = whole('maxInputTokens', scale.maxInputTokens);
  const maxOutputTokens = whole('maxOutputTokens', scale.maxOutputTokens);
  const most = whole('requests', scale.requests);
  const endUs = scale.durationSeconds === undefined ? Number.POSITIVE_INFINITY : scale.durationSeconds * 1e6;
  const hashBlockTokens = Math.max(1, Math.round(trace.hashBlockTokens * inputScale));
  const requests: TraceRequest[] = [];
  for (const request of trace.requests) {
    const arrivalUs = Math.round(request.arrivalUs * timeScale);
    if (requests.length >= most || arrivalUs > endUs) break;
    const inputTokens = Math.min(maxInputTokens, Math.ceil(request.inputTokens * inputScale));
    const outputTokens = Math.min(maxOutputTokens, Math.ceil(request.outputTokens * outputScale));
    const hashIds = request.hashIds?.slice(0, Math.ceil(inputTokens / hashBlockTokens));
    requests.push({ arrivalUs, inputTokens, outputTokens, ...(hashIds && { hashIds }) });
  }
  return { ...trace, hashBlockTokens, requests };
}

function positive(name: string, value: number): void {
  if (!Number.isFinite(value) || value <= 0) throw badOption(name, value, 'a number above 0');
}

function whole(name: string, value: number | undefined): number {
  if (value === undefined) return Number.POSITIVE_INFINITY;
  if (!Number.isInteger(value) || value < 1) throw badOption(name, value, 'an integer from 1 on');
  return value;
}
