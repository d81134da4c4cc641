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
      const tokens = Math.min(requests.known(slot) - requests.computed[slot]!, budget, stage.maxChunkTokens);
      const missing = stage.lacking(slot, requests.computed[slot]! + tokens);
      if (missing > stage.freeBlocks) {
        stage.starved = true;
        if (!freeBlocks(state, stage, slot, missing)) {
          if (!givesUp(state, stage, slot, busyElsewhere)) break;
          const next = stage.active.after(slot);
          state.preempt(slot);
          slot = next;
          continue;
        }
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
    if (entry.handover.size + entry.active.size >= entry.maxHandover) break;
    const slot = queue.peek();
    const cachedBlocks = state.findPrefix(slot);
    const cached = cachedBlocks * state.blockSizeTokens;
    const tokens = Math.min(requests.known(slot) - cached, budget, entry.maxChunkTokens);
    const blocks = entry.blocksFor(cached + tokens) - cachedBlocks;
    // Cached blocks that nobody holds are among the free ones, and will not be.
    if (blocks + (cachedBlocks > 0 ? entry.idleFound : 0) > entry.freeBlocks) break;
    state.admit(slot, cachedBlocks, nowUs);
    entry.grow(slot, blocks);
    addSequence(state, entry, plan, slot, tokens);
    budget -= tokens;
  }
}

/**
 * Preempts the youngest sequences of the lowest priority until `missing` blocks are free for `slot`; false if `slot` must
 * do without. A sequence in a step in flight is passed over.
 */
function freeBlocks(state: SchedulerState, stage: Stage, slot: number, missing: number): boolean {
  const { requests } = state;
  let victim = stage.active.tail;
  while (stage.freeBlocks < missing) {
    if (state.hasPriorities) victim = leastUrgent(state, stage, slot);
    else while (requests.inStep[victim] === 1) victim = stage.active.before(victim);
    if (victim === slot) return false;
    const younger = victim;
    victim = stage.active.before(victim);
    state.preempt(younger);
  }
  return true;
}

/**
 * Whether a sequence that finds no blocks gives up its own. It does for a more urgent one behind it; else it waits if
 * blocks will come back without that: from steps in flight, or, in a prefill stage, from the hand-over.
 */
function givesUp(state: SchedulerState, stage: Stage, slot: number, busyElsewhere: boolean): boolean {
  const { inStep } = state.requests;
  for (let other = stage.active.after(slot); other >= 0; other = stage.active.after(other)) {
    if (inStep[other] === 0) return true;
  }
  return !busyElsewhere && stage.role !== 'prefill';
}

/** The youngest of the lowest priority among `slot` and the sequences behind it that no step uses. */
function leastUrgent(state: SchedulerState, stage: Stage, slot: number): number {
  const { requests } = state;
  let least = slot;
  for (let other = slot; other >= 0; other = stage.active.after(other)) {
    if (requests.inStep[other] === 0 && requests.priority[other]! <= requests.priority[least]!) least = other;
  }
  return least;
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
