import { setTimeout as sleep } from 'node:timers/promises';
import type { ServingError } from '../errors.js';
import type { ForwardAnswer } from '../forward.js';
import type { Random } from '../random.js';

/** Options of retries, all of them before the first byte of an answer. */
export interface RetryOptions {
  /** Tries in all; default 3. */
  readonly maxAttempts?: number;
  /** Doubles with each retry, with full jitter; default 0.05. */
  readonly baseDelaySeconds?: number;
  /** Longest wait, also for `Retry-After`; default 2. */
  readonly maxDelaySeconds?: number;
  /** Default 408, 429, 500, 502, 503, 504. */
  readonly statuses?: readonly number[];
}

const defaultStatuses: readonly number[] = [408, 429, 500, 502, 503, 504];

/** One try that failed. */
export interface FailedAttempt {
  readonly type: 'failed';
  readonly worker: string;
  /** What the client gets if this was the last try. */
  readonly result: ServingError | Extract<ForwardAnswer, { type: 'error' }>;
  /** Failed before the server can have worked on it: the next try need not wait. */
  readonly isInstant?: boolean;
  /** Another server can be tried. */
  readonly hasOther: boolean;
}

/** The outcome of one try. */
export type Attempt = { readonly type: 'answer'; readonly answer: ForwardAnswer } | FailedAttempt;

/** What {@link withRetries} works with. */
export interface RetryContext {
  readonly options: RetryOptions;
  readonly random: Random;
  readonly signal: AbortSignal;
  readonly onRetry: (failed: FailedAttempt, attempt: number, delaySeconds: number) => void;
}

/**
 * Tries until there is an answer, or a failure that no retry helps.
 *
 * @param run - makes one try; what it throws is final.
 */
export async function withRetries(
  run: (attempt: number) => Promise<Attempt>,
  context: RetryContext,
): Promise<ForwardAnswer> {
  const { options, signal } = context;
  const maxAttempts = options.maxAttempts ?? 3;
  for (let attempt = 0; ; attempt++) {
    const outcome = await run(attempt);
    if (outcome.type === 'answer') return outcome.answer;
    const delaySeconds = attempt + 1 < maxAttempts ? retryDelay(outcome, attempt, context) : undefined;
    if (delaySeconds === undefined) {
      if (outcome.result instanceof Error) throw outcome.result;
      return outcome.result;
    }
    context.onRetry(outcome, attempt + 1, delaySeconds);
    if (delaySeconds === 0) continue;
    try {
      await sleep(delaySeconds * 1000, undefined, { signal });
    } catch {
      throw signal.reason;
    }
  }
}

/** Seconds to wait before the next try; undefined = none. */
export function retryDelay(
  failed: FailedAttempt,
  attempt: number,
  { options, random }: Pick<RetryContext, 'options' | 'random'>,
): number | undefined {
  const { baseDelaySeconds = 0.05, maxDelaySeconds = 2, statuses = defaultStatuses } = options;
  if (!statuses.includes(failed.result.status)) return undefined;
  if (failed.isInstant === true && attempt === 0) return 0;
  const backoff = Math.min(maxDelaySeconds, baseDelaySeconds * 2 ** attempt) * random();
  const asked = retryAfterSeconds(failed);
  // Another server does not have the load of the one that asked for time.
  if (asked === undefined || failed.hasOther) return backoff;
  return asked > maxDelaySeconds ? undefined : Math.max(asked, backoff);
}

function retryAfterSeconds({ result }: FailedAttempt): number | undefined {
  if (!('retryAfter' in result) || result.retryAfter === undefined) return undefined;
  const seconds = Number(result.retryAfter);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined;
}
