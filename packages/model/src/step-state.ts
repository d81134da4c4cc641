import type { ExpertExchange } from './expert-exchange.js';
import type { StepBatch } from './step-batch.js';
import type { TensorExchange } from './tensor-exchange.js';
import type { Workspace } from './workspace.js';

/**
 * One step in flight: its batch, its activations and its way to the experts. Stages take it as their argument, so that
 * two micro-batches can be at different stages at the same time.
 */
export interface StepState {
  readonly workspace: Workspace;
  readonly exchange: ExpertExchange;
  /** The way to the ranks that share the heads, if this rank has only some. */
  readonly tensor: TensorExchange | undefined;
  batch: StepBatch;
  /** New tokens of the batch: what attention works on. */
  tokens: number;
  /** Those whose residual stream is this rank's: all of them, or a part where ranks share the heads. */
  rows: number;
  /** The first of these. */
  firstRow: number;
  /** Entries between the block tables of two sequences in `workspace.blockTables`. */
  readonly blockTableStride: number;
}
