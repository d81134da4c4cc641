import type { ModelRuntimeOptions, SamplingPolicy, TokenLogprobs } from '@moestack/model';
import type { EncodedError } from '@moestack/schemas/errors';
import type { Prompt } from '../backend.js';
import type { ServingErrorOptions } from '../errors.js';
import type { PromptLimits } from './prompt.js';
import type { StepBufferShape } from './step-buffer.js';

/** Options of a runtime that survive a message. */
export type RuntimeOptions = Omit<ModelRuntimeOptions, 'onProgress' | 'signal'>;

/** What a rank is started with. */
export interface RankSetup {
  readonly kind: 'rank';
  readonly directory: string;
  readonly runtime: RuntimeOptions;
  /** Tokens that end a text. */
  readonly eosIds: readonly number[];
  readonly stepShape: StepBufferShape;
}

/** What the encoder of long prompts is started with. */
export interface EncoderSetup {
  readonly kind: 'encoder';
  readonly directory: string;
  readonly limits: PromptLimits;
}

/** What a worker is started with. */
export type WorkerSetup = RankSetup | EncoderSetup;

/** What a worker must know of a request to sample for it. */
export interface SequenceSetup {
  /** Length of prompt and continuation at most. */
  readonly capacity: number;
  readonly promptTokens: number;
  readonly sampling: SamplingPolicy;
  readonly ignoreEos: boolean;
  /** Report log-probabilities and this many alternatives; -1 = none. */
  readonly logprobs: number;
  /** The same for the prompt's own tokens; -1 = none. */
  readonly promptLogprobs: number;
}

/** Messages to a worker. They are handled in order. */
export type ToWorker =
  /** Tokens of a request from position `from` on; the first message of a request carries its setup. */
  | { type: 'tokens'; id: number; from: number; tokens: Int32Array; setup?: SequenceSetup }
  | { type: 'release'; id: number }
  /** Makes a step buffer known under the next number. */
  | { type: 'buffer'; shared: SharedArrayBuffer }
  | { type: 'step'; buffer: number }
  /** Sends blocks over the link, to be imported under `transfer`. */
  | { type: 'export'; transfer: number; blocks: Int32Array }
  /** Imports what the link brings under `transfer` into the blocks of a step buffer. */
  | { type: 'import'; transfer: number; buffer: number }
  | { type: 'link'; port: import('node:worker_threads').MessagePort };

/** Log-probabilities at one place of one request. */
export interface PlacedLogprobs extends TokenLogprobs {
  readonly id: number;
  /** Position of the token they are about. */
  readonly position: number;
}

/** Messages from a worker. */
export type FromWorker =
  | { type: 'progress'; loadedBytes: number; totalBytes: number }
  | { type: 'ready'; weightBytes: number; blockBytes: number }
  | { type: 'stepped'; buffer: number; logprobs?: PlacedLogprobs[] }
  | { type: 'imported'; buffer: number; bytes: number }
  /** A step failed, or with `buffer` -1 the worker. */
  | { type: 'failed'; buffer: number; error: EncodedError };

/** Blocks on their way between two workers. */
export type LinkMessage =
  | { type: 'blocks'; transfer: number; bytes: ArrayBuffer; length: number }
  /** The buffer goes back to be used again. */
  | { type: 'reuse'; bytes: ArrayBuffer };

/** A prompt for the encoder. */
export interface ToEncoder {
  readonly id: number;
  readonly prompt: Prompt;
}

/** Its answer: ids, a refusal for the client, or a failure. */
export type FromEncoder =
  | { type: 'encoded'; id: number; ids: Int32Array }
  | { type: 'refused'; id: number; options: ServingErrorOptions }
  | { type: 'failed'; id: number; error: EncodedError };
