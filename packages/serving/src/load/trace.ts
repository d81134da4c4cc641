import type { TraceRequest } from '@moestack/schemas';

export type { TraceRequest };

/** Requests in order of arrival. */
export interface LoadTrace {
  readonly name: string;
  /** SHA-256 of the bytes it was read from. */
  readonly sha256?: string;
  /** Tokens that one entry of `hashIds` stands for. */
  readonly hashBlockTokens: number;
  readonly requests: readonly TraceRequest[];
}

/** Bounds of a trace that is read. */
export interface TraceLimits {
  /** Most bytes, default 256 MiB. */
  readonly maxBytes?: number;
  /** Most rows that are read; the rest is left. Default 1,000,000. */
  readonly maxRequests?: number;
}

/** How a trace is fitted to a machine. */
export interface TraceScale {
  /** Arrival times are multiplied by it; 0.1 = ten times as fast. Default 1. */
  readonly timeScale?: number;
  /** Lengths are multiplied by these and rounded up. Default 1. */
  readonly inputScale?: number;
  readonly outputScale?: number;
  /** Only the first so many requests. */
  readonly requests?: number;
  /** Longer ones are cut to these. */
  readonly maxInputTokens?: number;
  readonly maxOutputTokens?: number;
  /** Requests that arrive later than this, after scaling, are left out. */
  readonly durationSeconds?: number;
}
