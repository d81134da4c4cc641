import type { PlanRecord } from './plan-record.js';
import type { Stage } from './stage.js';
import type { SchedulerState } from './state.js';

/**
 * Fills a plan with the next compute step of a stage: first its sequences in order of admission, then, where requests
 * are admitted and no block was missing, the head of the queue. The budget counts new tokens.
 */
export function planCompute(state: SchedulerState, stage: Stage, plan: PlanRecord, nowUs: number): void {
  const { requests } = state;
  let budget = stage.tokenBudget;
  stage.starved = false;
  const busyElsewhere = stage.busy > 0;
  let slot = stage.active.head;
  while (slot >= 0 && budget > 0) {
    if (requests.inStep[slot] === 0) {
      const tokens = Math.min(requests.known(slot) - requests.computed[slot]!, budget);
      const missing = stage.lacking(slot, requests.computed[slot]! + tokens);
      if (missing > stage.freeBlocks) {
        stage.starved = true;
        if (!freeBlocks(state, stage, slot, missing, busyElsewhere)) break;
      }
      stage.grow(slot, missing);
      addSequence(state, stage, plan, slot, tokens);
      budget -= tokens;
    }
    slot = stage.active.after(slot);
  }
  if (stage === state.entry && !stage.starved) admitWaiting(state, plan, budget, nowUs);
  plan.settle(stage, requests);
}

function admitWaiting(state: SchedulerState, plan: PlanRecord, budget: number, nowUs: number): void {
  const { requests, queue, entry } = state;
  while (budget > 0 && entry.hasSeat && queue.size > 0) {
    const slot = queue.peek();
    const tokens = Math.min(requests.known(slot), budget);
    const blocks = entry.blocksFor(tokens);
    if (blocks > entry.freeBlocks) break;
    state.admit(slot, nowUs);
    entry.grow(slot, blocks);
    addSequence(state, entry, plan, slot, tokens);
    budget -= tokens;
  }
}

/**
 * Preempts the youngest sequences until `missing` blocks are free for `slot`; false if `slot` must do without.
 *
 * A sequence in a step in flight is passed over. When only `slot` itself is left, it waits if blocks will come back
 * without that: from steps in flight, or, in a prefill stage, from the hand-over. Otherwise it gives up its own.
 */
function freeBlocks(
  state: SchedulerState,
  stage: Stage,
  slot: number,
  missing: number,
  busyElsewhere: boolean,
): boolean {
  const { requests } = state;
  let victim = stage.active.tail;
  while (stage.freeBlocks < missing) {
    while (requests.inStep[victim] === 1) victim = stage.active.before(victim);
    if (victim === slot) {
      if (!busyElsewhere && stage.role !== 'prefill') state.preempt(slot);
      return false;
    }
    const younger = victim;
    victim = stage.active.before(victim);
    state.preempt(younger);
  }
  return true;
}

function addSequence(
  state: SchedulerState,
  stage: Stage,
  plan: PlanRecord,
  slot: number,
  tokens: number,
): void {
  const { requests } = state;
  if (requests.decodes(slot)) plan.decodeSequences++;
  else plan.prefillTokens += tokens;
  plan.addCompute(slot, tokens);
  requests.inStep[slot] = 1;
  stage.busy++;
}
