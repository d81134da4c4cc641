import type { BackendEvent } from '../backend.js';
import type { Collected } from '../gateway/generations.js';
import type { UsageBody } from './responses.js';

/** What every answer to one request repeats. */
export interface AnswerHead {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
}

/** Turns backend events into the bodies of one endpoint. Holds the state of one answer. */
export interface AnswerFormat {
  /** The answer without `stream`. */
  whole(choices: readonly Collected[], usage: UsageBody): unknown;
  /** The frame of a stream for one event of choice `index`, or none. */
  frame(index: number, event: BackendEvent): unknown;
  /** The frame that carries the usage. */
  usage(usage: UsageBody): unknown;
}
