import type { StepPlan } from '@moestack/scheduler';

/** Most sequences of a step, and most blocks of one sequence. */
export interface StepBufferShape {
  readonly maxSequences: number;
  readonly maxBlocks: number;
}

const headerLength = 2;

/**
 * One step in memory that the controller and a worker share: the controller writes the plan, the worker the outcomes.
 * A message says whose turn it is, so that no message carries the arrays of a plan.
 */
export class StepBuffer {
  readonly shared: SharedArrayBuffer;
  readonly shape: StepBufferShape;
  readonly requestIds: Int32Array;
  readonly tokenCounts: Int32Array;
  readonly contextStarts: Int32Array;
  readonly blockCounts: Int32Array;
  /** `[sequences, blockTableStride]` */
  readonly blockTables: Int32Array;
  readonly samples: Uint8Array;
  /** Outcome: the sampled tokens. */
  readonly tokens: Int32Array;
  /** Outcome: 1 where the token ends the text. */
  readonly finished: Uint8Array;
  readonly #header: Int32Array;

  /** Attaches to memory of {@link StepBuffer.create}. */
  constructor(shared: SharedArrayBuffer, shape: StepBufferShape) {
    this.shared = shared;
    this.shape = shape;
    const { maxSequences, maxBlocks } = shape;
    let offset = 0;
    const ints = (length: number) => {
      const view = new Int32Array(shared, offset, length);
      offset += length * 4;
      return view;
    };
    const bytes = (length: number) => {
      const view = new Uint8Array(shared, offset, length);
      offset += length;
      return view;
    };
    this.#header = ints(headerLength);
    this.requestIds = ints(maxSequences);
    this.tokenCounts = ints(maxSequences);
    this.contextStarts = ints(maxSequences);
    this.blockCounts = ints(maxSequences);
    this.tokens = ints(maxSequences);
    this.blockTables = ints(maxSequences * maxBlocks);
    this.samples = bytes(maxSequences);
    this.finished = bytes(maxSequences);
  }

  static create(shape: StepBufferShape): StepBuffer {
    const { maxSequences, maxBlocks } = shape;
    const ints = headerLength + 5 * maxSequences + maxSequences * maxBlocks;
    return new StepBuffer(new SharedArrayBuffer(ints * 4 + 2 * maxSequences), shape);
  }

  get sequences(): number {
    return this.#header[0]!;
  }

  get blockTableStride(): number {
    return this.#header[1]!;
  }

  /** Copies of the outcomes, since the buffer may be written again before they are read. */
  outcomes(): { tokens: Int32Array; finished: Uint8Array } {
    const { sequences } = this;
    return { tokens: this.tokens.slice(0, sequences), finished: this.finished.slice(0, sequences) };
  }

  /** Copies what the worker needs of a plan. */
  write(plan: StepPlan): void {
    const { sequences, blockTableStride: stride } = plan;
    this.#header[0] = sequences;
    this.#header[1] = stride;
    for (let i = 0; i < sequences; i++) {
      this.requestIds[i] = plan.requestIds[i]!;
      this.tokenCounts[i] = plan.tokenCounts[i]!;
      this.contextStarts[i] = plan.contextStarts[i]!;
      this.samples[i] = plan.samples[i]!;
      this.tokens[i] = -1;
      this.finished[i] = 0;
      const blocks = plan.blockCounts[i]!;
      this.blockCounts[i] = blocks;
      const row = i * stride;
      for (let b = 0; b < blocks; b++) this.blockTables[row + b] = plan.blockTables[row + b]!;
    }
  }
}
