import { RoutingError } from '../errors.js';

/** Decisions of one layer in one step; expert ids are logical. */
export interface TraceRecord {
  step: number;
  layer: number;
  /** T. */
  tokens: number;
  /** Chosen experts [T, K], -1 = none. */
  indices: Int32Array;
  /** Their weights [T, K], where they were kept. */
  weights?: Float32Array;
}

/** Captured routing of one model; the same data as the `RoutingTrace` schema describes, with all arrays in memory. */
export interface CapturedTrace {
  /** Routed experts, E. */
  experts: number;
  /** Experts per token, K. */
  topK: number;
  model?: string;
  /** Older records that a recorder let go. */
  dropped: number;
  records: TraceRecord[];
}

/** Checks a record against its trace. */
export function requireRecord(record: TraceRecord, experts: number, topK: number): void {
  const { step, layer, tokens, indices, weights } = record;
  const where = `step ${step}, layer ${layer}`;
  if (!isCount(step) || !isCount(layer) || !isCount(tokens)) {
    throw badTrace(
      `expected whole numbers for step, layer and tokens, got ${where}, ${tokens} tokens`,
      where,
      'number them from 0',
    );
  }
  const length = tokens * topK;
  if (indices.length !== length || (weights !== undefined && weights.length !== length)) {
    throw badTrace(
      `expected ${length} ids and weights at ${where}, got ${indices.length}`,
      indices.length,
      'record [tokens, topK]',
    );
  }
  for (let i = 0; i < length; i++) {
    if (indices[i]! < -1 || indices[i]! >= experts) {
      throw badTrace(
        `expected ids below ${experts} at ${where}, got ${indices[i]}`,
        indices[i],
        'record logical ids',
      );
    }
  }
}

/** Tokens per expert over all records [layers, experts], layers up to the highest one traced: a load for `placement`. */
export function traceLoad(trace: CapturedTrace): { layers: number; experts: number; counts: Float64Array } {
  const { experts, records } = trace;
  let layers = 0;
  for (const { layer } of records) layers = Math.max(layers, layer + 1);
  const counts = new Float64Array(layers * experts);
  for (const { layer, indices } of records) {
    for (let i = 0; i < indices.length; i++)
      if (indices[i]! >= 0) counts[layer * experts + indices[i]!]! += 1;
  }
  return { layers, experts, counts };
}

/** An error about a trace. */
export function badTrace(message: string, value: unknown, remedy: string, cause?: unknown): RoutingError {
  return new RoutingError({
    code: 'routing/bad-trace',
    message,
    value,
    remedy,
    ...(cause === undefined ? {} : { cause }),
  });
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
