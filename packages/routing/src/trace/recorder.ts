import { requireInteger, requireLength } from '../operands.js';
import { type CapturedTrace, requireRecord, type TraceRecord } from './trace.js';

/** Options of {@link createTraceRecorder}. */
export interface TraceRecorderOptions {
  /** Routed experts, E. */
  experts: number;
  /** Experts per token, K. */
  topK: number;
  model?: string;
  /** Keep weights too. Default false. */
  weights?: boolean;
  /** Most records kept; older ones are let go. Default 65,536. */
  maxRecords?: number;
  /** Most assignments (tokens times K) kept over all records. Default 16,777,216: 64 MiB of ids. */
  maxAssignments?: number;
}

/** Keeps the last decisions of a model, within bounds. */
export interface TraceRecorder {
  /** Records kept now. */
  readonly size: number;
  /** Records let go so far. */
  readonly dropped: number;
  /**
   * Copies one decision; the oldest records make room.
   *
   * @param at - where it was taken; `tokens` is T.
   * @param decision - logical ids [T, K] and weights.
   */
  record(
    at: { step: number; layer: number; tokens: number },
    decision: { indices: Int32Array; weights?: Float32Array },
  ): void;
  /** What is kept, oldest first; the arrays are the recorder's own. */
  trace(): CapturedTrace;
  /** Forgets all records and starts counting anew. */
  clear(): void;
}

/**
 * Makes a bounded recorder of routing decisions.
 *
 * @example
 * ```ts
 * import { createReplayRouter, createRouter, createTraceRecorder } from '@moestack/routing';
 *
 * const router = createRouter({ experts: 4, topK: 2, scoring: 'sigmoid' });
 * const recorder = createTraceRecorder({ experts: 4, topK: 2, weights: true });
 * const decision = router.route(Float32Array.of(1, 2, 3, 4), 1);
 * recorder.record({ step: 0, layer: 3, tokens: 1 }, decision);
 * console.log(createReplayRouter(recorder.trace()).route({ step: 0, layer: 3 }).indices); // [3, 2]
 * ```
 */
export function createTraceRecorder(options: TraceRecorderOptions): TraceRecorder {
  return new Recorder(options);
}

class Recorder implements TraceRecorder {
  readonly #experts: number;
  readonly #topK: number;
  readonly #model: string | undefined;
  readonly #weights: boolean;
  readonly #maxAssignments: number;
  readonly #ring: (TraceRecord | undefined)[];
  #first: number = 0;
  #size: number = 0;
  #assignments: number = 0;
  #dropped: number = 0;

  constructor(options: TraceRecorderOptions) {
    this.#experts = requireInteger('experts', options.experts, 1, 65_536);
    this.#topK = requireInteger('topK', options.topK, 1, 1024);
    this.#model = options.model;
    this.#weights = options.weights ?? false;
    this.#maxAssignments = requireInteger(
      'maxAssignments',
      options.maxAssignments ?? 1 << 24,
      1,
      2 ** 31 - 1,
    );
    const maxRecords = requireInteger('maxRecords', options.maxRecords ?? 65_536, 1, 1_000_000);
    this.#ring = new Array<TraceRecord | undefined>(maxRecords).fill(undefined);
  }

  get size(): number {
    return this.#size;
  }

  get dropped(): number {
    return this.#dropped;
  }

  record(
    at: { step: number; layer: number; tokens: number },
    decision: { indices: Int32Array; weights?: Float32Array },
  ): void {
    const { step, layer } = at;
    const tokens = requireInteger('tokens', at.tokens, 0, 1 << 24);
    const length = tokens * this.#topK;
    requireInteger('assignments of a record', length, 0, this.#maxAssignments);
    requireLength('indices', decision.indices.length, length, '[tokens, topK]');
    const record: TraceRecord = { step, layer, tokens, indices: decision.indices.slice(0, length) };
    if (this.#weights) {
      const weights = decision.weights ?? new Float32Array(0);
      requireLength('weights', weights.length, length, '[tokens, topK]');
      record.weights = weights.slice(0, length);
    }
    requireRecord(record, this.#experts, this.#topK);
    const ring = this.#ring;
    while (this.#size === ring.length || this.#assignments + length > this.#maxAssignments)
      this.#dropOldest();
    ring[(this.#first + this.#size) % ring.length] = record;
    this.#size++;
    this.#assignments += length;
  }

  trace(): CapturedTrace {
    const ring = this.#ring;
    return {
      experts: this.#experts,
      topK: this.#topK,
      ...(this.#model === undefined ? {} : { model: this.#model }),
      dropped: this.#dropped,
      records: Array.from({ length: this.#size }, (_, i) => ring[(this.#first + i) % ring.length]!),
    };
  }

  clear(): void {
    this.#ring.fill(undefined);
    this.#first = 0;
    this.#size = 0;
    this.#assignments = 0;
    this.#dropped = 0;
  }

  #dropOldest(): void {
    this.#assignments -= this.#ring[this.#first]!.indices.length;
    this.#ring[this.#first] = undefined;
    this.#first = (this.#first + 1) % this.#ring.length;
    this.#size--;
    this.#dropped++;
  }
}
