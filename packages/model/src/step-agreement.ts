import type { Communicator, Plan, WaitOptions } from '@moestack/collectives';
import { OverlapChoice } from './overlap-choice.js';
import type { Overlap } from './stage-schedule.js';

/** What each rank tells the others ahead of a step: its tokens, its sequences, seconds and share of waiting of its last step. */
const VALUES = 4;

/** Lets all ranks choose the same order of stages for a step: one small all-gather ahead of it. */
export class StepAgreement {
  private readonly communicator: Communicator;
  private readonly plan: Plan;
  private readonly choice = new OverlapChoice();
  private readonly mine: Float32Array;
  private readonly all: Float32Array;
  private readonly size = { mostTokens: 0, tokens: 0, sequences: 0 };
  private seconds = 0;
  private waitShare = 0;

  private constructor(communicator: Communicator, plan: Plan) {
    this.communicator = communicator;
    this.plan = plan;
    this.mine = plan.input as Float32Array;
    this.all = plan.output as Float32Array;
  }

  /** Plans the exchange; collective. `communicator` is owned from now on. */
  static async open(communicator: Communicator, wait: WaitOptions): Promise<StepAgreement> {
    const plan = await communicator.planAsync({ op: 'allGather', dtype: 'f32', counts: VALUES }, wait);
    return new StepAgreement(communicator, plan);
  }

  /** Tells the others about this rank's part of a step. */
  start(tokens: number, sequences: number): void {
    const { mine } = this;
    mine[0] = tokens;
    mine[1] = sequences;
    mine[2] = this.seconds;
    mine[3] = this.waitShare;
    this.plan.start();
  }

  /** Resolves when {@link StepAgreement.finish} will not block. */
  ready(wait?: WaitOptions): Promise<void> {
    return this.plan.wait(wait);
  }

  /** What all ranks choose. */
  finish(): Overlap {
    this.plan.finish();
    const { all, size } = this;
    const ranks = all.length / VALUES;
    let seconds = 0;
    let waitShare = 0;
    size.mostTokens = 0;
    size.tokens = 0;
    size.sequences = 0;
    for (let rank = 0; rank < ranks; rank++) {
      const at = rank * VALUES;
      size.mostTokens = Math.max(size.mostTokens, all[at]!);
      size.tokens += all[at]!;
      size.sequences += all[at + 1]!;
      seconds = Math.max(seconds, all[at + 2]!);
      waitShare += all[at + 3]! / ranks;
    }
    this.choice.observe(seconds, waitShare);
    return this.choice.choose(size);
  }

  /** Keeps what this rank's step took for the next {@link StepAgreement.start}. */
  note(seconds: number, waitSeconds: number): void {
    this.seconds = seconds;
    this.waitShare = seconds > 0 ? Math.min(1, waitSeconds / seconds) : 0;
  }

  close(): void {
    this.plan.close();
    this.communicator.close();
  }
}
