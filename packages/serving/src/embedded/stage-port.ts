import type { StepPlan } from '@moestack/scheduler';
import type { StageChannel } from './stage-worker.js';
import { StepBuffer } from './step-buffer.js';

interface Slot {
  readonly step: StepBuffer;
  plan: StepPlan | undefined;
}

/** The controller's side of a rank: its step buffers, and which plan is in which. */
export class StagePort {
  readonly channel: StageChannel;
  readonly #slots: Slot[] = [];
  readonly #free: number[] = [];

  constructor(channel: StageChannel) {
    this.channel = channel;
  }

  /** Puts a plan into a free buffer. Buffers are made when first needed. */
  begin(plan: StepPlan): number {
    const index = this.#free.pop() ?? this.#add();
    const slot = this.#slots[index]!;
    slot.plan = plan;
    slot.step.write(plan);
    return index;
  }

  /** Takes a plan back. The buffer keeps the outcomes until the next {@link StagePort.begin}. */
  end(index: number): { plan: StepPlan; step: StepBuffer } {
    const slot = this.#slots[index]!;
    const plan = slot.plan!;
    slot.plan = undefined;
    this.#free.push(index);
    return { plan, step: slot.step };
  }

  #add(): number {
    const step = StepBuffer.create(this.channel.stepShape);
    this.channel.post({ type: 'buffer', shared: step.shared });
    return this.#slots.push({ step, plan: undefined }) - 1;
  }
}
