import type { PlanRecord } from './plan-record.js';
import { Ending } from './request-table.js';
import type { Stage } from './stage.js';
import type { SchedulerState } from './state.js';
import type { StepOutcomes } from './types.js';

/** Applies the outcomes of a compute step whose sequences belong to no step any more. */
export function completeCompute(state: SchedulerState, plan: PlanRecord, outcomes: StepOutcomes): void {
  const { requests, stages } = state;
  const stage = stages[plan.stage]!;
  const { fusedSteps, sequences } = plan;
  stage.steps += fusedSteps;
  state.prefillTokens += plan.prefillTokens;
  state.decodeTokens += plan.decodeSequences * fusedSteps;
  requeueFailed(state, plan, outcomes.failed);
  for (let i = 0; i < sequences; i++) {
    const row = plan.order[i]!;
    if (outcomes.failed?.[row] === 1) continue;
    const slot = plan.requestIds[row]!;
    if (requests.ending[slot] !== Ending.none) {
      state.forget(slot);
      continue;
    }
    const before = requests.computed[slot]!;
    const computed = before + plan.tokenCounts[row]! + fusedSteps - 1;
    requests.computed[slot] = computed;
    rememberPrefix(state, stage, slot, before, computed);
    if (plan.samples[row] !== 1) continue;
    requests.generated[slot]! += fusedSteps;
    state.queue.chargeGenerated(requests.tenant[slot]!, 1);
    state.generatedTokens += fusedSteps;
    const full = requests.generated[slot]! >= requests.maxNewTokens[slot]!;
    if (full || outcomes.finished[row] === 1) state.end(slot, Ending.finished);
    else if (stage.role === 'prefill') state.offer(slot);
  }
}

/** Offers the blocks that the tokens from `before` to `computed` have filled to prompts that begin alike. */
function rememberPrefix(
  state: SchedulerState,
  stage: Stage,
  slot: number,
  before: number,
  computed: number,
): void {
  const prefix = state.requests.prefix[slot]!;
  if (prefix.length === 0 || stage !== state.entry) return;
  const from = Math.floor(before / state.blockSizeTokens);
  const to = Math.min(prefix.length, Math.floor(computed / state.blockSizeTokens));
  if (from < to) stage.remember(slot, prefix, from, to);
}

/** Applies a transfer whose sequences belong to no step any more. */
export function completeTransfer(
  state: SchedulerState,
  plan: PlanRecord,
  failed: Uint8Array | undefined,
): void {
  state.transfers++;
  requeueFailed(state, plan, failed);
  for (let row = 0; row < plan.sequences; row++) {
    if (failed?.[row] === 1) continue;
    const slot = plan.requestIds[row]!;
    if (state.requests.ending[slot] === Ending.none) state.endTransfer(slot);
    else state.forget(slot);
  }
}

/** Puts every sequence of a lost step back into the queue. */
export function requeueAll(state: SchedulerState, plan: PlanRecord): void {
  // Backwards, so that the front of the queue keeps the order of admission.
  for (let i = plan.sequences - 1; i >= 0; i--) {
    const slot = plan.requestIds[plan.order[i]!]!;
    refund(state, plan, slot);
    requeueOrForget(state, slot);
  }
}

function requeueFailed(state: SchedulerState, plan: PlanRecord, failed: Uint8Array | undefined): void {
  if (failed === undefined) return;
  for (let i = plan.sequences - 1; i >= 0; i--) {
    const row = plan.order[i]!;
    if (failed[row] !== 1) continue;
    refund(state, plan, plan.requestIds[row]!);
    requeueOrForget(state, plan.requestIds[row]!);
  }
}

/** What a fused step was charged for ahead is not owed when it is lost. */
function refund(state: SchedulerState, plan: PlanRecord, slot: number): void {
  if (plan.fusedSteps > 1) state.queue.chargeGenerated(state.requests.tenant[slot]!, 1 - plan.fusedSteps);
}

function requeueOrForget(state: SchedulerState, slot: number): void {
  if (state.requests.ending[slot] === Ending.none) state.requeue(slot);
  else state.forget(slot);
}
