import type { PlanRecord } from './plan-record.js';
import type { SchedulerState } from './state.js';

/**
 * Fills a plan with prefilled requests that fit a rank of the last stage, in order of their prefill.
 *
 * Each reserves blocks for its next token as well, so that it can decode at once. Nothing moves to a rank while an older
 * sequence there lacks blocks.
 */
export function planTransfer(state: SchedulerState, plan: PlanRecord): void {
  const { requests, entry, last } = state;
  while (fitsTransfer(state)) {
    for (let rank = 0; rank < last.ranks; rank++) if (last.starved[rank] === 1) last.found[rank] = -1;
    const rank = last.chooseRank();
    if (rank < 0) break;
    const slot = entry.handover.head;
    const computed = requests.computed[slot]!;
    state.beginTransfer(slot, rank, last.blocksFor(computed + 1));
    requests.inStep[slot] = 1;
    last.busy[rank]! += 1;
    plan.addTransfer(slot, entry, last, computed);
  }
}

/** Whether a prefilled request waits whose seat and blocks the last stage has; {@link Stage.found} says where. */
export function fitsTransfer(state: SchedulerState): boolean {
  const { requests, entry, last } = state;
  const slot = entry.handover.head;
  if (slot < 0 || !last.hasSeat) return false;
  const blocks = last.blocksFor(requests.computed[slot]! + 1);
  let fits = false;
  for (let rank = 0; rank < last.ranks; rank++) {
    const hasRoom = blocks <= last.freeOn(rank);
    last.found[rank] = hasRoom ? 0 : -1;
    fits ||= hasRoom;
  }
  return fits;
}
