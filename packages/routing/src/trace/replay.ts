import { requireLength } from '../operands.js';
import type { Router, RoutingDecision } from '../types.js';
import { badTrace, type CapturedTrace, requireRecord, type TraceRecord } from './trace.js';

/** Decides what a trace says. */
export interface ReplayRouter {
  readonly experts: number;
  readonly topK: number;
  /** Whether the trace has a decision for this layer and step. */
  has(at: { step: number; layer: number }): boolean;
  /**
   * The recorded decision, in fresh arrays. Weights are those of `router.weigh(logits, ids)` if a router is given, else the recorded
   * ones, else 1/K. Throws `routing/bad-trace` where nothing was recorded.
   */
  route(
    at: { step: number; layer: number },
    live?: { router: Router; logits: Float32Array },
  ): RoutingDecision;
}

/** Makes a gate that repeats a trace: to compare placements on the same traffic, or to train with the experts of a rollout. */
export function createReplayRouter(trace: CapturedTrace): ReplayRouter {
  const { experts, topK } = trace;
  const records = new Map<string, TraceRecord>();
  for (const record of trace.records) {
    requireRecord(record, experts, topK);
    const key = keyOf(record);
    if (records.has(key)) {
      throw badTrace(
        `expected one record per step and layer, got two for ${key}`,
        key,
        'number steps without repetition',
      );
    }
    records.set(key, record);
  }
  return {
    experts,
    topK,
    has: (at) => records.has(keyOf(at)),
    route(at, live) {
      const record = records.get(keyOf(at));
      if (record === undefined) {
        throw badTrace(
          `expected a recorded decision, got none for ${keyOf(at)}`,
          keyOf(at),
          'ask has() first, or record longer',
        );
      }
      if (live !== undefined) {
        const { config } = live.router;
        if (config.experts !== experts || config.topK !== topK) {
          throw badTrace(
            `expected a router of ${experts} experts, top ${topK}, got ${config.experts}, top ${config.topK}`,
            config.experts,
            'replay with the gate that was traced',
          );
        }
        requireLength('logits', live.logits.length, record.tokens * experts, '[tokens, experts]');
      }
      const indices = record.indices.slice();
      const counts = new Int32Array(experts);
      for (let i = 0; i < indices.length; i++) if (indices[i]! >= 0) counts[indices[i]!]! += 1;
      const weights =
        live === undefined
          ? (record.weights?.slice() ?? Float32Array.from(indices, (id) => (id < 0 ? 0 : 1 / topK)))
          : live.router.weigh(live.logits, indices);
      return { indices, weights, counts };
    },
  };
}

function keyOf({ step, layer }: { step: number; layer: number }): string {
  return `step ${step}, layer ${layer}`;
}
