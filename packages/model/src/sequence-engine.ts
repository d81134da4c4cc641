import type { DeepseekConfig } from './config.js';
import type { ModelRuntime } from './runtime.js';
import type { BatchLimits, StepBatch } from './step-batch.js';

/** What runs the steps of a {@link Model}: a runtime in this thread, or ranks in threads of their own. */
export interface SequenceEngine {
  readonly config: DeepseekConfig;
  readonly limits: BatchLimits;
  /** The runtime of this thread. */
  readonly runtime: ModelRuntime;
  /** Logits `[vocab]` of the last token of a batch of one sequence. */
  forward(batch: StepBatch): Float32Array | Promise<Float32Array>;
  /** Logits `[tokens, vocab]`. */
  forwardAll(batch: StepBatch): Float32Array | Promise<Float32Array>;
  close(): Promise<void>;
}

/** The engine that a runtime is. */
export function localEngine(runtime: ModelRuntime): SequenceEngine {
  return {
    runtime,
    config: runtime.config,
    limits: runtime.limits,
    forward: (batch) => runtime.forward(batch),
    forwardAll: (batch) => runtime.forwardAll(batch),
    close: () => runtime.close(),
  };
}

/** A batch for the only sequence of a runtime, which owns all its blocks. */
export function sequenceBatch({ limits }: Pick<SequenceEngine, 'limits'>): StepBatch {
  const { blocks } = limits;
  return {
    sequences: 1,
    tokens: new Int32Array(limits.maxBatchTokens),
    tokenOffsets: new Int32Array(2),
    contextStarts: new Int32Array(1),
    blockTables: Int32Array.from({ length: blocks }, (_, block) => block),
    blockTableStride: blocks,
  };
}
