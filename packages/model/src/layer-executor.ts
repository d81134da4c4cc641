import type { WaitOptions } from '@moestack/collectives';
import type { LayerStages } from './layer-stages.js';
import type { ScheduledStage, StageName, StageSchedule } from './stage-schedule.js';
import type { StageTrace } from './stage-trace.js';
import type { StepState } from './step-state.js';

/** Stages that wait for other ranks. */
const WAITING: Readonly<Partial<Record<StageName, true>>> = {
  attentionGather: true,
  attentionReduce: true,
  dispatchReceive: true,
  combineReceive: true,
};

/** Runs the stages of all layers in the order of a schedule. */
export class LayerExecutor {
  /** What the last step took, and how much of it passed in stages that wait for other ranks. */
  stepSeconds = 0;
  waitSeconds = 0;
  private readonly layers: readonly LayerStages[];
  private readonly trace: StageTrace | undefined;

  constructor(layers: readonly LayerStages[], trace: StageTrace | undefined) {
    this.layers = layers;
    this.trace = trace;
  }

  /** Runs a step; blocks where tokens of other ranks are missing. */
  run(schedule: StageSchedule, steps: readonly StepState[]): void {
    const { stages } = schedule;
    const { length } = this.layers;
    const start = performance.now();
    this.waitSeconds = 0;
    for (let cycle = schedule.firstCycle; cycle < length + schedule.extraCycles; cycle++) {
      for (let i = 0; i < stages.length; i++) {
        const entry = stages[i]!;
        const layer = cycle + entry.shift;
        if (layer >= 0 && layer < length) this.execute(entry, layer, steps[entry.microBatch]!);
      }
    }
    this.stepSeconds = (performance.now() - start) / 1e3;
  }

  /** {@link LayerExecutor.run} that waits through promises. */
  async runAsync(schedule: StageSchedule, steps: readonly StepState[], wait: WaitOptions): Promise<void> {
    const { length } = this.layers;
    const start = performance.now();
    this.waitSeconds = 0;
    for (let cycle = schedule.firstCycle; cycle < length + schedule.extraCycles; cycle++) {
      for (const entry of schedule.stages) {
        const layer = cycle + entry.shift;
        if (layer < 0 || layer >= length) continue;
        const step = steps[entry.microBatch]!;
        const from = performance.now();
        const { stage } = entry;
        if (stage === 'attentionGather' || stage === 'attentionReduce') await step.tensor?.ready(wait);
        const waits = stage === 'dispatchReceive' || stage === 'combineReceive';
        if (waits && this.layers[layer]!.kind === 'experts') await step.exchange.ready(wait);
        if (WAITING[stage]) this.waitSeconds += (performance.now() - from) / 1e3;
        this.execute(entry, layer, step);
      }
    }
    this.stepSeconds = (performance.now() - start) / 1e3;
  }

  private execute(entry: ScheduledStage, index: number, step: StepState): void {
    const trace = this.trace?.enabled ? this.trace : undefined;
    const { stage, microBatch } = entry;
    const layer = this.layers[index]!;
    if (trace === undefined && WAITING[stage] === undefined) {
      layer[stage](step);
      return;
    }
    const from = performance.now();
    const start = trace?.now() ?? 0;
    layer[stage](step);
    trace?.add(stage, microBatch, index, start);
    if (WAITING[stage]) this.waitSeconds += (performance.now() - from) / 1e3;
  }
}
