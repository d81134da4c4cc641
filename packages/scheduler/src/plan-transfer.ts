import type { PlanRecord } from './plan-record.js';
import type { SchedulerState } from './state.js';

/**
 * Fills a plan with prefilled requests that fit the last stage, in order of their prefill.
 *
 * Each reserves blocks for its next token as well, so that it can decode at once. Nothing moves while an older
 * sequence of the last stage lacks blocks.
 */
export function planTransfer(state: SchedulerState, plan: PlanRecord): void {
  const { requests, entry, last } = state;
  while (fitsTransfer(state) && !last.starved) {
    const slot = entry.handover.head;
    const computed = requests.computed[slot]!;
    state.beginTransfer(slot, last.blocksFor(computed + 1));
    requests.inStep[slot] = 1;
    last.busy++;
    plan.addTransfer(slot, entry, last, computed);
  }
}

/** Whether a prefilled request waits whose seat and blocks the last stage has. */
export function fitsTransfer(state: SchedulerState): boolean {
  const { requests, entry, last } = state;
  const slot = entry.handover.head;
  return slot >= 0 && last.hasSeat && last.blocksFor(requests.computed[slot]! + 1) <= last.freeBlocks;
}
