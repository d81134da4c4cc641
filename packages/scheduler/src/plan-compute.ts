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
  stage.beginWalk();
  let slot = stage.active.head;
  while (slot >= 0 && budget > 0) {
    if (requests.inStep[slot] === 0) {
      const tokens = Math.min(requests.known(slot) - requests.computed[slot]!, budget, stage.maxChunkTokens);
      const missing = stage.lacking(slot, requests.computed[slot]! + tokens);
      const rank = stage.rankOf[slot]!;
      if (missing > stage.freeOn(rank)) {
        stage.starved[rank] = 1;
        if (!freeBlocks(state, stage, slot, missing)) {
          const next = stage.active.after(slot);
          if (givesUp(state, stage, slot)) state.preempt(slot);
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
  if (stage === state.entry) admitWaiting(state, plan, budget, nowUs);
  plan.settle(stage, requests);
}

function admitWaiting(state: SchedulerState, plan: PlanRecord, budget: number, nowUs: number): void {
  const { requests, queue, entry } = state;
  while (budget > 0 && entry.hasSeat && queue.size > 0) {
    if (entry.handover.size + entry.active.size >= entry.maxHandover) break;
    const slot = queue.peek();
    for (let rank = 0; rank < entry.ranks; rank++) {
      entry.found[rank] = entry.starved[rank] === 1 ? -1 : findRoom(state, slot, rank, budget);
    }
    const rank = entry.chooseRank();
    if (rank < 0) break;
    const cachedBlocks = entry.found[rank]!;
    const cached = cachedBlocks * state.blockSizeTokens;
    const tokens = Math.min(requests.known(slot) - cached, budget, entry.maxChunkTokens);
    state.admit(slot, rank, cachedBlocks, nowUs);
    entry.grow(slot, entry.blocksFor(cached + tokens) - cachedBlocks);
    addSequence(state, entry, plan, slot, tokens);
    budget -= tokens;
  }
}

/** Blocks of a waiting request's prefix that a rank has cached; -1 where it has no room for the request's first step. */
function findRoom(state: SchedulerState, slot: number, rank: number, budget: number): number {
  const { requests, entry } = state;
  const cachedBlocks = state.findPrefix(slot, rank);
  const cached = cachedBlocks * state.blockSizeTokens;
  const tokens = Math.min(requests.known(slot) - cached, budget, entry.maxChunkTokens);
  const blocks = entry.blocksFor(cached + tokens) - cachedBlocks;
  // Cached blocks that nobody holds are among the free ones, and will not be.
  const needed = blocks + (cachedBlocks > 0 ? entry.idleFound(rank) : 0);
  return needed > entry.freeOn(rank) ? -1 : cachedBlocks;
}

/**
 * Preempts the youngest sequences of the lowest priority on its rank until `missing` blocks are free for `slot`; false if
 * `slot` must do without. A sequence in a step in flight is passed over.
 */
function freeBlocks(state: SchedulerState, stage: Stage, slot: number, missing: number): boolean {
  const { requests } = state;
  const rank = stage.rankOf[slot]!;
  let victim = stage.active.tail;
  while (stage.freeOn(rank) < missing) {
    if (state.hasPriorities) victim = leastUrgent(state, stage, slot);
    else {
      while (requests.inStep[victim] === 1 || stage.rankOf[victim] !== rank)
        victim = stage.active.before(victim);
    }
    if (victim === slot) return false;
    const younger = victim;
    victim = stage.active.before(victim);
    state.preempt(younger);
  }
  return true;
}

/**
 * Whether a sequence that finds no blocks gives up its own. It does for a more urgent one behind it on its rank; else it
 * waits if blocks will come back without that: from steps in flight, or, in a prefill stage, from the hand-over.
 */
function givesUp(state: SchedulerState, stage: Stage, slot: number): boolean {
  const { inStep } = state.requests;
  const rank = stage.rankOf[slot]!;
  for (let other = stage.active.after(slot); other >= 0; other = stage.active.after(other)) {
    if (inStep[other] === 0 && stage.rankOf[other] === rank) return true;
  }
  return stage.busyBefore[rank] === 0 && stage.role !== 'prefill';
}

/** The youngest of the lowest priority among `slot` and the sequences behind it on its rank that no step uses. */
function leastUrgent(state: SchedulerState, stage: Stage, slot: number): number {
  const { requests } = state;
  const rank = stage.rankOf[slot]!;
  let least = slot;
  for (let other = slot; other >= 0; other = stage.active.after(other)) {
    if (requests.inStep[other] === 1 || stage.rankOf[other] !== rank) continue;
    if (requests.priority[other]! <= requests.priority[least]!) least = other;
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
  stage.busy[stage.rankOf[slot]!]! += 1;
}
