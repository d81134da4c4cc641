import type { Scheduler } from '@moestack/scheduler';
import { PrefixIds } from './prefix-ids.js';
import type { StageChannel } from './stage-worker.js';

/** Requests that a rank may have more than the least loaded one before its cache no longer decides. */
const MAX_LOAD_GAP = 4;
/** Prefixes that are remembered for each block of the stage. */
const IDS_PER_BLOCK = 4;
/** About 30 MB of names. */
const MAX_IDS = 1 << 18;

/** Where a prompt is to be computed, and the names of its prefixes there. */
export interface PrefixPlace {
  readonly prefix: Float64Array;
  readonly rank: number;
  readonly cachedTokens: number;
}

/**
 * Finds the rank of a stage that has most of a prompt cached. Ranks do not see each other's caches, so a prefix has a
 * name for each of them.
 */
export class PrefixPlacer {
  readonly #scheduler: Scheduler;
  readonly #channel: StageChannel;
  readonly #ids: PrefixIds;

  constructor(scheduler: Scheduler, channel: StageChannel, sizes: { blockTokens: number; blocks: number }) {
    this.#scheduler = scheduler;
    this.#channel = channel;
    this.#ids = new PrefixIds(sizes.blockTokens, Math.min(MAX_IDS, sizes.blocks * IDS_PER_BLOCK));
  }

  /** @param owner - whose prompt it is: prompts of others are not found. */
  place(prompt: Int32Array, owner?: string): PrefixPlace {
    const ids = this.#ids.idsOf(prompt, owner);
    const { ranks } = this.#channel;
    let least = Number.POSITIVE_INFINITY;
    for (let rank = 0; rank < ranks; rank++) least = Math.min(least, this.#load(rank));
    let best: PrefixPlace | undefined;
    for (let rank = 0; rank < ranks; rank++) {
      const load = this.#load(rank);
      if (load > least + MAX_LOAD_GAP) continue;
      const prefix = ranks === 1 ? ids : ids.map((id) => id * ranks + rank);
      const cachedTokens = this.#scheduler.cachedTokensFor(prefix);
      const isBetter =
        best === undefined ||
        cachedTokens > best.cachedTokens ||
        (cachedTokens === best.cachedTokens && load < this.#load(best.rank));
      if (isBetter) best = { prefix, rank, cachedTokens };
    }
    return best!;
  }

  /** Gives a request, before the stage hears of it, to the rank that was found. */
  assign(id: number, place: PrefixPlace): void {
    if (this.#channel.ranks > 1) this.#channel.assign?.(id, place.rank);
  }

  #load(rank: number): number {
    return this.#channel.loadOf?.(rank) ?? 0;
  }
}
