import { SchedulerError } from './errors.js';
import { PrefixCache } from './prefix-cache.js';

/** A request for {@link replayPrefixCache}. */
export interface PrefixRequest {
  inputTokens: number;
  /** Names of its blocks in order; a name stands for the block and everything before it. */
  hashIds: ArrayLike<number>;
}

/** What a prefix cache would have saved. */
export interface PrefixCacheResult {
  /** Leading blocks of each request that were resident. */
  hitBlocks: Int32Array;
  /** Sum of `min(blockTokens * hitBlocks, inputTokens)`. */
  hitTokens: number;
  totalBlocks: number;
  totalTokens: number;
  evictions: number;
  residentBlocks: number;
}

/**
 * Runs a trace through a {@link PrefixCache}, requests one after the other.
 *
 * @param options - `capacityBlocks`: default unlimited; `blockTokens`: tokens of a block, default 512.
 * @throws SchedulerError `scheduler/bad-config`.
 */
export function replayPrefixCache(
  requests: readonly PrefixRequest[],
  options: { capacityBlocks?: number | null; blockTokens?: number } = {},
): PrefixCacheResult {
  const capacity = options.capacityBlocks ?? Number.POSITIVE_INFINITY;
  const { blockTokens = 512 } = options;
  if (!(capacity >= 0)) throw bad('capacityBlocks', capacity);
  if (!(Number.isInteger(blockTokens) && blockTokens >= 1)) throw bad('blockTokens', blockTokens);
  const cache = new PrefixCache(capacity);
  const hitBlocks = new Int32Array(requests.length);
  const sums = { hitTokens: 0, totalBlocks: 0, totalTokens: 0 };
  requests.forEach(({ inputTokens, hashIds }, row) => {
    const hits = cache.take(hashIds);
    hitBlocks[row] = hits;
    sums.hitTokens += Math.min(blockTokens * hits, inputTokens);
    sums.totalTokens += inputTokens;
    sums.totalBlocks += hashIds.length;
  });
  return { hitBlocks, ...sums, evictions: cache.evictions, residentBlocks: cache.residentBlocks };
}

function bad(name: string, value: number): SchedulerError {
  return new SchedulerError({
    code: 'scheduler/bad-config',
    message: `got ${value} for ${name}`,
    value,
    remedy: 'pass a capacity of at least 0, or none, and whole tokens a block',
  });
}
