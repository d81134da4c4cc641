import type { StepPlan } from '@moestack/scheduler';
import type { StepRecord } from './engine-stats.js';
import type { StepPhase } from './step-phases.js';

/** When a step ran. */
export interface StepTimes {
  readonly startUs: number;
  readonly endUs: number;
  /** What a rank did when, counted from the end of the step. */
  readonly phases: readonly StepPhase[] | undefined;
}

const NO_PHASES: readonly StepPhase[] = [];

interface MutableRecord {
  stepId: number;
  stage: string;
  kind: 'compute' | 'transfer';
  startUs: number;
  endUs: number;
  sequences: number;
  prefillTokens: number;
  decodeSequences: number;
  fusedSteps: number;
  microBatches: { sequences: number; tokens: number }[];
  phases: readonly StepPhase[];
}

/** The last steps, in records that are used again. */
export class StepTimeline {
  readonly #records: MutableRecord[] = [];
  readonly #capacity: number;
  #next = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(plan: StepPlan, stage: string, { startUs, endUs, phases }: StepTimes): void {
    const record = this.#take();
    record.stepId = plan.stepId;
    record.stage = stage;
    record.kind = plan.kind;
    record.startUs = startUs;
    record.endUs = endUs;
    record.sequences = plan.sequences;
    record.prefillTokens = plan.prefillTokens;
    record.decodeSequences = plan.decodeSequences;
    record.fusedSteps = plan.fusedSteps;
    record.phases = phases === undefined ? NO_PHASES : placed(phases, startUs, endUs);
    const [first, second] = record.microBatches as [MicroBatch, MicroBatch];
    first.sequences = 0;
    first.tokens = 0;
    second.sequences = 0;
    second.tokens = 0;
    for (let row = 0; row < plan.sequences; row++) {
      const part = plan.microBatches === 2 && plan.microBatchOf[row] === 1 ? second : first;
      part.sequences++;
      part.tokens += plan.tokenCounts[row]!;
    }
  }

  /** Copies, oldest first. */
  snapshot(): StepRecord[] {
    const records: StepRecord[] = [];
    for (let i = 0; i < this.#records.length; i++) {
      const record = this.#records[(this.#next + i) % this.#records.length]!;
      const parts = record.microBatches.filter(({ sequences }, part) => part === 0 || sequences > 0);
      records.push({ ...record, microBatches: parts.map((part) => ({ ...part })) });
    }
    return records;
  }

  #take(): MutableRecord {
    if (this.#records.length < this.#capacity) {
      const record: MutableRecord = {
        stepId: 0,
        stage: '',
        kind: 'compute',
        startUs: 0,
        endUs: 0,
        sequences: 0,
        prefillTokens: 0,
        decodeSequences: 0,
        fusedSteps: 1,
        microBatches: [
          { sequences: 0, tokens: 0 },
          { sequences: 0, tokens: 0 },
        ],
        phases: NO_PHASES,
      };
      this.#records.push(record);
      return record;
    }
    const record = this.#records[this.#next]!;
    this.#next = (this.#next + 1) % this.#capacity;
    return record;
  }
}

type MicroBatch = MutableRecord['microBatches'][number];

/** Phases on the clock of the step, and within it: their clock is that of another thread. */
function placed(phases: readonly StepPhase[], startUs: number, endUs: number): StepPhase[] {
  const within = (us: number) => Math.min(endUs, Math.max(startUs, Math.round(endUs + us)));
  return phases.map((one) => ({ ...one, startUs: within(one.startUs), endUs: within(one.endUs) }));
}
