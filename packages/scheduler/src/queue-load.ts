import { Phase } from './request-table.js';
import type { SchedulerState } from './state.js';

/** What stands before a request that would arrive now. */
export interface QueueLoad {
  waitingRequests: number;
  /** Known tokens of the requests that wait. */
  waitingTokens: number;
  /** Highest priority among them; -Infinity if none waits. */
  waitingPriority: number;
  /** Admitted sequences of the entry stage that have tokens of their prompt to compute, and these tokens. */
  prefillSequences: number;
  prefillTokens: number;
  /** Prefilled sequences on their way to the decode stage. */
  handoverSequences: number;
  /** Sequences that decode, their tokens so far, and the most that they may yet generate. */
  decodeSequences: number;
  decodeContextTokens: number;
  decodeRemainingTokens: number;
}

/** A {@link QueueLoad} of nothing, to be filled. */
export function emptyLoad(): QueueLoad {
  return {
    waitingRequests: 0,
    waitingTokens: 0,
    waitingPriority: Number.NEGATIVE_INFINITY,
    prefillSequences: 0,
    prefillTokens: 0,
    handoverSequences: 0,
    decodeSequences: 0,
    decodeContextTokens: 0,
    decodeRemainingTokens: 0,
  };
}

/** Fills `out` in time proportional to the sequences that run; what waits is counted as it comes and goes. */
export function readLoad(state: SchedulerState, out: QueueLoad): QueueLoad {
  const { queue, requests, entry, last } = state;
  out.waitingRequests = queue.size;
  out.waitingTokens = queue.tokens;
  out.waitingPriority = queue.size > 0 ? requests.priority[queue.peek()]! : Number.NEGATIVE_INFINITY;
  out.prefillSequences = 0;
  out.prefillTokens = 0;
  out.handoverSequences = entry.handover.size;
  out.decodeSequences = 0;
  out.decodeContextTokens = 0;
  out.decodeRemainingTokens = 0;
  for (let slot = entry.active.head; slot >= 0; slot = entry.active.after(slot)) {
    if (requests.decodes(slot)) continue;
    out.prefillSequences++;
    out.prefillTokens += requests.known(slot) - requests.computed[slot]!;
  }
  for (let slot = last.active.head; slot >= 0; slot = last.active.after(slot)) {
    if (requests.phase[slot] !== Phase.active || !requests.decodes(slot)) continue;
    out.decodeSequences++;
    out.decodeContextTokens += requests.known(slot);
    out.decodeRemainingTokens += requests.maxNewTokens[slot]! - requests.generated[slot]!;
  }
  return out;
}
