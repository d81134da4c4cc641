import type { StageName, StageRecord } from '@moestack/model';

/** `experts` has the gate and the dense and shared MLPs too; `dispatch` and `combine` have the waits for other ranks. */
export type PhaseName = 'attention' | 'dispatch' | 'experts' | 'combine';

/** What a rank did for one layer of one micro-batch, within a step. */
export interface StepPhase {
  readonly phase: PhaseName;
  readonly layer: number;
  readonly microBatch: number;
  readonly startUs: number;
  readonly endUs: number;
}

/** Most phases that are kept of a step: all of 60 layers in two micro-batches. */
const MAXIMUM_PHASES = 1024;

const phaseOf: Readonly<Record<StageName, PhaseName>> = {
  attentionProject: 'attention',
  attentionGather: 'attention',
  attentionCore: 'attention',
  attentionReduce: 'attention',
  gate: 'experts',
  dispatchSend: 'dispatch',
  dispatchReceive: 'dispatch',
  shared: 'experts',
  experts: 'experts',
  combineSend: 'combine',
  combineReceive: 'combine',
};

/** The phases of a step, from the stages of a rank's layers: neighbours of one phase joined, times counted from `originUs`. */
export function phasesOf(stages: readonly StageRecord[], originUs: number): StepPhase[] {
  const phases: { -readonly [K in keyof StepPhase]: StepPhase[K] }[] = [];
  for (const { stage, layer, microBatch, startUs, endUs } of stages) {
    const phase = phaseOf[stage];
    const last = phases.at(-1);
    if (last?.phase === phase && last.layer === layer && last.microBatch === microBatch) {
      last.endUs = endUs - originUs;
      continue;
    }
    if (phases.length === MAXIMUM_PHASES) break;
    phases.push({ phase, layer, microBatch, startUs: startUs - originUs, endUs: endUs - originUs });
  }
  return phases;
}
