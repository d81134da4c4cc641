import type { StepPlan } from '@moestack/scheduler';
import type { RankOutcomes } from './rank-step-engine.js';
import type { StageChannel } from './stage-worker.js';
import { StepBuffer } from './step-buffer.js';

/** A step that a rank has yet to answer. */
export interface PendingStep {
  readonly plan: StepPlan;
  readonly resolve: (outcomes: RankOutcomes) => void;
  readonly reject: (error: unknown) => void;
}

interface Slot {
  readonly step: StepBuffer;
  pending: PendingStep | undefined;
  /** Ends when the step is too late. */
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** The controller's side of a rank: its step buffers, and which step is in which. */
export class StagePort {
  readonly channel: StageChannel;
  readonly #slots: Slot[] = [];
  readonly #free: number[] = [];

  constructor(channel: StageChannel) {
    this.channel = channel;
  }

  /** Puts a step's plan into a free buffer. Buffers are made when first needed. */
  begin(pending: PendingStep): number {
    const index = this.#free.pop() ?? this.#add();
    const slot = this.#slots[index]!;
    slot.pending = pending;
    slot.step.write(pending.plan);
    return index;
  }

  /** Gives a step the timer that runs until it is late. */
  watch(index: number, timer: ReturnType<typeof setTimeout>): void {
    this.#slots[index]!.timer = timer;
  }

  /** Takes a step back. The buffer keeps the outcomes until the next {@link StagePort.begin}. */
  end(index: number): Pick<Slot, 'step' | 'timer'> & { pending: PendingStep } {
    const slot = this.#slots[index]!;
    const pending = slot.pending!;
    const { timer } = slot;
    slot.pending = undefined;
    slot.timer = undefined;
    this.#free.push(index);
    return { pending, timer, step: slot.step };
  }

  /** Rejects every step that is out; their buffers stay taken, since the rank may still write into them. */
  abandon(error: unknown): void {
    for (const slot of this.#slots) {
      clearTimeout(slot.timer);
      slot.pending?.reject(error);
      slot.pending = undefined;
      slot.timer = undefined;
    }
  }

  #add(): number {
    const step = StepBuffer.create(this.channel.stepShape);
    this.channel.post({ type: 'buffer', shared: step.shared });
    return this.#slots.push({ step, pending: undefined, timer: undefined }) - 1;
  }
}
