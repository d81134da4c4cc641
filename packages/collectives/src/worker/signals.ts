import {
  DEAD,
  EXITED,
  RANK_ACTIVITY,
  RANK_FAILED,
  RANK_REASON,
  RANK_REASON_LENGTH,
  RANK_STATE,
  REASON_BYTES,
  rankWord,
  WORLD_CHANGES,
} from './layout.js';

/** Wakes every rank, whether it is known to sleep or not. */
function wakeAll(words: Int32Array, world: number, ranks: number): void {
  for (let rank = 0; rank < ranks; rank++) {
    const activity = rankWord(world, rank) + RANK_ACTIVITY;
    Atomics.add(words, activity, 1);
    Atomics.notify(words, activity);
  }
}

/** Marks a rank as failed, once; the first reason stays. */
export function markFailed(
  words: Int32Array,
  world: number,
  ranks: number,
  rank: number,
  reason: string,
): void {
  const record = rankWord(world, rank);
  if (Atomics.compareExchange(words, record + RANK_FAILED, 0, 1) === 0) {
    const text = new TextEncoder().encode(reason.replace(/\s+/g, ' ')).subarray(0, REASON_BYTES);
    new Uint8Array(words.buffer, (record + RANK_REASON) * 4, REASON_BYTES).set(text);
    Atomics.store(words, record + RANK_REASON_LENGTH, text.length);
  }
  // Also when it was marked before: the thread that did so may have been stopped in between.
  Atomics.add(words, world + WORLD_CHANGES, 1);
  wakeAll(words, world, ranks);
}

/** Why a rank failed, as far as it is known. */
export function failureReason(words: Int32Array, world: number, rank: number): string {
  const record = rankWord(world, rank);
  const length = Atomics.load(words, record + RANK_REASON_LENGTH);
  if (length <= 0) return 'failed';
  // TextDecoder refuses shared memory; cutting the text may have split a character.
  const copy = new Uint8Array(
    words.buffer,
    (record + RANK_REASON) * 4,
    Math.min(length, REASON_BYTES),
  ).slice();
  return new TextDecoder().decode(copy);
}

/** Records that the thread of a rank has ended: `clean`, or by a failure, unless the rank had closed everything before. */
export function markEnded(
  words: Int32Array,
  world: number,
  ranks: number,
  rank: number,
  clean: boolean,
  reason: string,
): void {
  const state = rankWord(world, rank) + RANK_STATE;
  if (Atomics.load(words, state) < EXITED) {
    if (!clean) markFailed(words, world, ranks, rank, reason);
    const failed = Atomics.load(words, rankWord(world, rank) + RANK_FAILED) !== 0;
    Atomics.store(words, state, failed ? DEAD : EXITED);
  }
  Atomics.add(words, world + WORLD_CHANGES, 1);
  wakeAll(words, world, ranks);
}
