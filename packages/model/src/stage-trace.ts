import type { StageName } from './stage-schedule.js';

/** Stages that send, or wait for what others send. */
const COMMUNICATION = /^(dispatch|combine|attentionGather|attentionReduce)/;

/** When one stage ran. */
export interface StageRecord {
  readonly stage: StageName;
  readonly microBatch: number;
  readonly layer: number;
  readonly startUs: number;
  readonly endUs: number;
}

/** Records the stages of a runtime's steps, while it is given to `openRuntime`. */
export class StageTrace {
  readonly records: StageRecord[] = [];
  /** False: steps run as if there were no trace. */
  enabled: boolean = true;
  private readonly nowUs: () => number;

  /** @param nowUs - microseconds; default: the process's clock. */
  constructor(nowUs: () => number = () => performance.now() * 1000) {
    this.nowUs = nowUs;
  }

  /** @internal */
  now(): number {
    return this.nowUs();
  }

  /** @internal */
  add(stage: StageName, microBatch: number, layer: number, startUs: number): void {
    this.records.push({ stage, microBatch, layer, startUs, endUs: this.nowUs() });
  }

  /** Forgets what was recorded. */
  clear(): void {
    this.records.length = 0;
  }

  /**
   * The records in the trace event format that Perfetto and chrome://tracing open: a row for each micro-batch.
   *
   * @param rank - shown as the process.
   */
  toTraceEvents(rank: number = 0): { traceEvents: object[] } {
    return {
      traceEvents: this.records.map(({ stage, microBatch, layer, startUs, endUs }) => ({
        name: `${stage} ${layer}`,
        cat: COMMUNICATION.test(stage) ? 'communication' : 'computation',
        ph: 'X',
        ts: startUs,
        dur: endUs - startUs,
        pid: rank,
        tid: microBatch,
        args: { layer, microBatch },
      })),
    };
  }
}
