import type { ExpertExchange } from './expert-exchange.js';
import type { StepBatch } from './step-batch.js';
import type { Workspace } from './workspace.js';

/**
 * One step in flight: its batch, its activations and its way to the experts. Stages take it as their argument, so that
 * two micro-batches can be at different stages at the same time.
 */
export interface StepState {
  readonly workspace: Workspace;
  readonly exchange: ExpertExchange;
  batch: StepBatch;
  /** New tokens of the batch. */
  tokens: number;
  /** Entries between the block tables of two sequences in `workspace.blockTables`. */
  readonly blockTableStride: number;
}
