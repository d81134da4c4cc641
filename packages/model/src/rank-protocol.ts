import type { EncodedError } from '@moestack/schemas/errors';
import type { ExpertRoutingOptions } from './parallel-options.js';
import type { ModelRuntimeOptions } from './runtime-options.js';

/** What a rank of a loaded model starts with: what survives a message of its options. */
export interface RankSetup {
  readonly path: string;
  readonly runtime: Omit<
    ModelRuntimeOptions,
    'parallel' | 'emulate' | 'onExpertLoad' | 'onProgress' | 'signal'
  >;
  readonly routing: ExpertRoutingOptions & { readonly tensor: number };
}

/** Messages to a rank, handled in order. */
export type ToRank =
  /** A step; ranks without a part of the sequence's heads get no tokens. */
  { type: 'step'; tokens: Int32Array; start: number; all: boolean } | { type: 'close' };

/** Messages from a rank. */
export type FromRank =
  | { type: 'progress'; loadedBytes: number; totalBytes: number }
  | { type: 'ready' }
  | { type: 'stepped'; logits: Float32Array<ArrayBuffer> }
  /** Loading or a step failed. */
  | { type: 'failed'; error: EncodedError };
