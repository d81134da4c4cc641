import { SchedulerError } from './errors.js';

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
 * Runs a trace through a cache of prompt blocks, requests one after the other.
 *
 * A hit is the longest prefix that is resident. Then every block of the request is touched from the last to the first,
 * so that the first is the most recent, missing ones come in, and the least recent go out until the capacity holds.
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
  // A set keeps the order of insertion: the least recent comes first.
  const resident = new Set<number>();
  const hitBlocks = new Int32Array(requests.length);
  const result = { hitTokens: 0, totalBlocks: 0, totalTokens: 0, evictions: 0 };
  requests.forEach(({ inputTokens, hashIds }, row) => {
    let hits = 0;
    while (hits < hashIds.length && resident.has(hashIds[hits]!)) hits++;
    hitBlocks[row] = hits;
    result.hitTokens += Math.min(blockTokens * hits, inputTokens);
    result.totalTokens += inputTokens;
    result.totalBlocks += hashIds.length;
    for (let i = hashIds.length - 1; i >= 0; i--) {
      resident.delete(hashIds[i]!);
      resident.add(hashIds[i]!);
    }
    for (const block of resident) {
      if (resident.size <= capacity) break;
      resident.delete(block);
      result.evictions++;
    }
  });
  return { hitBlocks, ...result, residentBlocks: resident.size };
}

function bad(name: string, value: number): SchedulerError {
  return new SchedulerError({
    code: 'scheduler/bad-config',
    message: `got ${value} for ${name}`,
    value,
    remedy: 'pass a capacity of at least 0, or none, and whole tokens a block',
  });
}
