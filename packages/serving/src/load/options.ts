import type { LoadRequestRow } from '@moestack/schemas';
import type { SloTargets } from '../embedded/engine-stats.js';
import type { LoadTrace, TraceScale } from './trace.js';

/** How far a load test is. */
export interface LoadProgress {
  readonly sent: number;
  readonly ended: number;
  readonly total: number;
  readonly completionTokens: number;
}

/** Options of {@link runLoad}. */
export interface LoadOptions extends TraceScale {
  /** Base URL of the server, with or without `/v1`. */
  readonly url: string;
  /** Default: the first model that the server lists. */
  readonly model?: string;
  readonly apiKey?: string;
  readonly trace: LoadTrace;
  /** Default `completions`. */
  readonly endpoint?: 'completions' | 'chat';
  /** What prompts are made of, default `text`. `tokens` gives exact lengths, for `completions` only. */
  readonly prompts?: 'text' | 'tokens';
  /** With `tokens`: ids are drawn from [1, vocabulary), default 256. */
  readonly vocabulary?: number;
  /**
   * `open` (default): requests are sent when they are due, however many run. `closed`: `concurrency` requests run at any
   * time, arrival times are ignored.
   */
  readonly arrivals?: 'open' | 'closed';
  /** Most requests at once; required for `closed`. In an open test later ones wait, and the wait shows in `sendDelaySeconds`. */
  readonly concurrency?: number;
  readonly slo?: SloTargets;
  /** Generate all tokens that the trace says, past the end of text: sends `ignore_eos`. Default true. */
  readonly ignoreEos?: boolean;
  /** Fraction of the requests that the client leaves after a random part of their answer; default 0. */
  readonly abortFraction?: number;
  /** Deadline of one request, default 600. */
  readonly timeoutSeconds?: number;
  /** Of prompts and aborts; same seed, same requests. Default 1. */
  readonly seed?: number;
  /** Keep a row for every request in the report. Default false. */
  readonly keepRows?: boolean;
  /** Called as requests start and end. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Called with the row of each request that ended. */
  readonly onRequest?: (row: LoadRequestRow) => void;
  /** Ends the test: running requests are aborted, and the report is of what ended before. */
  readonly signal?: AbortSignal;
}
