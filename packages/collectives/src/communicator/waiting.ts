import { AbortedError } from '@moestack/schemas/errors';
import { CollectivesError, CollectivesTimeoutError, PeerFailureError } from '../errors.js';
import type { WaitOptions } from './communicator.js';
import type { Transport } from './transport.js';

/** Something that can be polled until it is complete. */
export interface Waitable {
  /** Whether it is complete; never blocks; may throw. */
  test(): boolean;
  /** Ranks it still waits for; names them in errors. */
  missing(): readonly number[];
}

/** Polls that pass before the clock is read for the first time: short waits need no deadline. */
const FREE_POLLS = 64;

/**
 * Polls `waitable` until it is complete, blocking this thread.
 *
 * @param what - names the operation in errors.
 * @throws what `waitable.test` throws; PeerFailureError; CollectivesTimeoutError, after the transport was told to abandon; CollectivesError
 * `collectives/would-block` where ranks share one thread.
 */
export function blockUntil(
  transport: Transport,
  what: string,
  waitable: Waitable,
  timeoutSeconds: number,
  tolerateFailure = false,
): void {
  let deadline = 0;
  for (let attempt = 0; ; attempt++) {
    const token = transport.activity();
    transport.progress();
    if (waitable.test()) return;
    if (!tolerateFailure) throwOnFailure(transport, waitable);
    if (!transport.canBlock) throw wouldBlock(transport, what);
    let left = timeoutSeconds;
    if (attempt === FREE_POLLS) deadline = transport.now() + timeoutSeconds;
    if (attempt >= FREE_POLLS) {
      left = deadline - transport.now();
      if (left <= 0)
        throw abandonWith(transport, new CollectivesTimeoutError(what, waitable.missing(), timeoutSeconds));
    }
    transport.pause(token, attempt, left);
  }
}

/**
 * Polls `waitable` until it is complete while the event loop keeps turning.
 *
 * @throws as {@link blockUntil}, except `would-block`; AbortedError when the signal fires, after the transport was told to abandon.
 */
export async function waitUntil(
  transport: Transport,
  what: string,
  waitable: Waitable,
  options: WaitOptions & { readonly timeoutSeconds: number; readonly tolerateFailure?: boolean },
): Promise<void> {
  const { timeoutSeconds, signal } = options;
  const deadline = transport.now() + timeoutSeconds;
  let onAbort: (() => void) | undefined;
  const aborted =
    signal === undefined
      ? undefined
      : new Promise<void>((resolve) => {
          onAbort = () => resolve();
          signal.addEventListener('abort', onAbort, { once: true });
        });
  try {
    for (let attempt = 0; ; attempt++) {
      const token = transport.activity();
      transport.progress();
      if (waitable.test()) return;
      if (options.tolerateFailure !== true) throwOnFailure(transport, waitable);
      if (signal?.aborted) throw abandonWith(transport, new AbortedError(what, signal.reason));
      const left = deadline - transport.now();
      if (left <= 0)
        throw abandonWith(transport, new CollectivesTimeoutError(what, waitable.missing(), timeoutSeconds));
      const pause = transport.pauseAsync(token, attempt, left);
      await (aborted === undefined ? pause : Promise.race([pause, aborted]));
    }
  } finally {
    if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort);
  }
}

/** Throws a PeerFailureError when ranks failed, or when `waitable` waits for one that left. */
function throwOnFailure(transport: Transport, waitable: Waitable): void {
  const failure = transport.failure();
  if (failure === undefined) return;
  if (failure.ranks.length > 0) throw new PeerFailureError(failure.ranks, failure.reason, failure.cause);
  const { departed = [] } = failure;
  const awaited = departed.length === 0 ? [] : waitable.missing().filter((rank) => departed.includes(rank));
  if (awaited.length > 0) throw new PeerFailureError(awaited, 'closed its communicator');
}

function abandonWith<E extends Error>(transport: Transport, error: E): E {
  transport.abandon(error);
  return error;
}

function wouldBlock(transport: Transport, what: string): CollectivesError {
  return new CollectivesError({
    code: 'collectives/would-block',
    message: `${what} cannot block: all ${transport.size} ranks share this thread`,
    value: transport.kind,
    remedy: 'use start() and wait(), the promise methods, or runTogether(plans)',
  });
}
