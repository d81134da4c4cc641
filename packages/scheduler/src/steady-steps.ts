import type { PlanRecord } from './plan-record.js';
import { fitsTransfer } from './plan-transfer.js';
import { Ending } from './request-table.js';
import type { Stage } from './stage.js';
import type { SchedulerState } from './state.js';

/**
 * Steps of the last stage, from `plan` on if it is in flight there, else from the next one on, that are pure decode
 * steps of the same sequences. See {@link Scheduler.steadySteps}.
 */
export function countSteadySteps(state: SchedulerState, plan: PlanRecord | undefined): number {
  const { requests, last } = state;
  const { active } = last;
  if (last.stepsInFlight > (plan === undefined ? 0 : 1)) return 0;
  if (active.size === 0 || active.size > last.tokenBudget) return 0;
  // A sequence that arrived since the plan was made joins the next step.
  if (plan !== undefined && plan.sequences !== active.size) return 0;
  let steps = Number.POSITIVE_INFINITY;
  for (let slot = active.head; slot >= 0; slot = active.after(slot)) {
    if (!requests.decodes(slot) || requests.ending[slot] !== Ending.none) return 0;
    const remaining = requests.maxNewTokens[slot]! - requests.generated[slot]!;
    if (remaining < steps) steps = remaining;
  }
  if (admits(state)) return plan === undefined ? 0 : 1;
  // After a step that ran out of blocks newcomers are kept out; the next step lets them in again.
  if (plan !== undefined && last.starved.includes(1)) return 1;
  // Most of the time there are blocks for all of them.
  if (hasBlocksAfter(state, last, steps)) return steps;
  steps--;
  let low = 0;
  // Needed blocks grow with the steps, so the last affordable count can be bisected.
  while (low < steps) {
    const middle = low + Math.ceil((steps - low) / 2);
    if (hasBlocksAfter(state, last, middle)) low = middle;
    else steps = middle - 1;
  }
  return low;
}

/** Makes a decode plan in flight stand for `steps` steps, no more than {@link countSteadySteps} says. */
export function fusePlan(state: SchedulerState, plan: PlanRecord, steps: number): void {
  const { requests, last } = state;
  for (let row = 0; row < plan.sequences; row++) {
    const slot = plan.requestIds[row]!;
    last.grow(slot, last.lacking(slot, requests.computed[slot]! + steps));
    // Whoever arrives comes in the last of the steps, when single ones would have been charged for all before it.
    state.queue.chargeGenerated(requests.tenant[slot]!, steps - 1);
  }
  plan.refreshTables(last);
  plan.fusedSteps = steps;
}

/** Whether the next step would take in a waiting request. Free blocks only shrink meanwhile, so one look is enough. */
function admits(state: SchedulerState): boolean {
  const { requests, queue, entry, last } = state;
  if (entry !== last) return fitsTransfer(state);
  const budget = last.tokenBudget - last.active.size;
  if (queue.size === 0 || budget === 0 || !last.hasSeat) return false;
  const slot = queue.peek();
  // What is cached for it may be given up meanwhile, and then it may need less at once: not to be seen from here.
  for (let rank = 0; rank < entry.ranks; rank++) if (state.findPrefix(slot, rank) > 0) return true;
  const blocks = last.blocksFor(Math.min(requests.known(slot), budget, last.maxChunkTokens));
  for (let rank = 0; rank < last.ranks; rank++) {
    if (blocks <= last.freeOn(rank) - lackingAfter(state, last, rank, 1)) return true;
  }
  return false;
}

/** Whether every rank has the blocks that its sequences lack for so many steps. */
function hasBlocksAfter(state: SchedulerState, stage: Stage, steps: number): boolean {
  for (let rank = 0; rank < stage.ranks; rank++) {
    if (lackingAfter(state, stage, rank, steps) > stage.freeOn(rank)) return false;
  }
  return true;
}

function lackingAfter(state: SchedulerState, stage: Stage, rank: number, steps: number): number {
  const { requests } = state;
  let blocks = 0;
  for (let slot = stage.active.head; slot >= 0; slot = stage.active.after(slot)) {
    if (stage.rankOf[slot] === rank) blocks += stage.lacking(slot, requests.computed[slot]! + steps);
  }
  return blocks;
}
