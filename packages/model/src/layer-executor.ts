import type { WaitOptions } from '@moestack/collectives';
import type { LayerStages } from './layer-stages.js';
import type { ScheduledStage, StageSchedule } from './stage-schedule.js';
import type { StageTrace } from './stage-trace.js';
import type { StepState } from './step-state.js';

/** Runs the stages of all layers in the order of a schedule. */
export class LayerExecutor {
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
    for (let cycle = schedule.firstCycle; cycle < length + schedule.extraCycles; cycle++) {
      for (let i = 0; i < stages.length; i++) {
        const entry = stages[i]!;
        const layer = cycle + entry.shift;
        if (layer >= 0 && layer < length) this.execute(entry, layer, steps[entry.microBatch]!);
      }
    }
  }

  /** {@link LayerExecutor.run} that waits through promises. */
  async runAsync(schedule: StageSchedule, steps: readonly StepState[], wait: WaitOptions): Promise<void> {
    const { length } = this.layers;
    for (let cycle = schedule.firstCycle; cycle < length + schedule.extraCycles; cycle++) {
      for (const entry of schedule.stages) {
        const layer = cycle + entry.shift;
        if (layer < 0 || layer >= length) continue;
        const step = steps[entry.microBatch]!;
        const { stage } = entry;
        if (stage === 'attentionGather' || stage === 'attentionReduce') await step.tensor?.ready(wait);
        const waits = stage === 'dispatchReceive' || stage === 'combineReceive';
        if (waits && this.layers[layer]!.kind === 'experts') await step.exchange.ready(wait);
        this.execute(entry, layer, step);
      }
    }
  }

  private execute(entry: ScheduledStage, index: number, step: StepState): void {
    const { trace } = this;
    const layer = this.layers[index]!;
    if (trace === undefined) {
      layer[entry.stage](step);
      return;
    }
    const start = trace.now();
    layer[entry.stage](step);
    trace.add(entry.stage, entry.microBatch, index, start);
  }
}
