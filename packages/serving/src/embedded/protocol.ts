import type { WorkerHandle } from '@moestack/collectives/worker';
import type {
  ExpertRoutingOptions,
  ModelRuntimeOptions,
  SamplingPolicy,
  TokenLogprobs,
} from '@moestack/model';
import type { Plan } from '@moestack/placement';
import type { EncodedError } from '@moestack/schemas/errors';
import type { Prompt } from '../backend.js';
import type { ServingErrorOptions } from '../errors.js';
import type { PromptLimits } from './prompt.js';
import type { StepBufferShape } from './step-buffer.js';
import type { StepPhase } from './step-phases.js';

/** Options of a runtime that survive a message. */
export type RuntimeOptions = Omit<
  ModelRuntimeOptions,
  'parallel' | 'emulate' | 'trace' | 'onExpertLoad' | 'onProgress' | 'signal'
>;

/** What a rank is started with. */
export interface RankSetup {
  readonly kind: 'rank';
  readonly directory: string;
  readonly runtime: RuntimeOptions;
  /** Tokens that end a text. */
  readonly eosIds: readonly number[];
  readonly stepShape: StepBufferShape;
  /** How long it may wait for other ranks within a step. */
  readonly stepTimeoutSeconds: number;
  /** The ranks that it shares the experts with. */
  readonly group?: GroupSetup;
}

/** A rank's place among those that share the experts. */
export interface GroupSetup {
  /** Ranks that share the attention heads. */
  readonly tensor: number;
  readonly handle: WorkerHandle;
  readonly routing: ExpertRoutingOptions;
  readonly spareSlots: number;
}

/** What one rank's experts have done since it started. */
export interface RankExpertLoad {
  /** `[layers with experts, experts]`: tokens of this rank's sequences for each logical expert. */
  readonly tokens: Float64Array;
  /** Rows that its experts have computed for all ranks. */
  readonly computedRows: number;
  /** Token messages that it has received, those of its own included, and their bytes. */
  readonly receivedMessages: number;
  readonly receivedBytes: number;
  /** Bytes of one expert's weights. */
  readonly expertBytes: number;
  /** Experts whose weights it has received from other ranks. */
  readonly receivedExperts: number;
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
  /** `isTraced`: the answer says what the rank did when. */
  | { type: 'step'; buffer: number; isTraced?: boolean }
  /** Sends blocks over a link, to be imported under `transfer`. */
  | { type: 'export'; link: number; transfer: number; blocks: Int32Array }
  /** Imports what a link brings under `transfer` into the blocks of these sequences of a step buffer. */
  | { type: 'import'; link: number; transfer: number; buffer: number; indices: Int32Array }
  /** A connection to a rank of another stage, named by that rank. */
  | { type: 'link'; link: number; port: import('node:worker_threads').MessagePort }
  /** Asks for a {@link RankExpertLoad}. */
  | { type: 'load' }
  /** Brings the weights of one layer's new placement into spare slots, while steps go on. */
  | { type: 'stage-experts'; row: number; plan: Plan }
  /** Puts them in force; sent to all ranks between the same two steps. */
  | { type: 'switch-experts' };

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
  /** Times of phases count from the end of the step. */
  | { type: 'stepped'; buffer: number; logprobs?: PlacedLogprobs[]; phases?: StepPhase[] }
  | { type: 'imported'; buffer: number; bytes: number }
  | { type: 'load'; load: RankExpertLoad }
  | { type: 'experts-staged' }
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
