import { alignUp } from './checks.js';
import {
  type DispatcherConfig,
  type DispatcherOptions,
  type DispatchTopology,
  resolveConfig,
  SCALE_BLOCK,
} from './config.js';
import { combineMessage, dispatchMessage, rowBytes } from './message.js';

/** Transports align allocations to it. */
const ALIGNMENT = 64;

/**
 * Bytes that a dispatcher allocates from the memory of its transport on each rank: what ranks in worker threads need in their shared
 * memory besides other buffers.
 *
 * @example
 * ```ts
 * import { dispatcherBytes } from '@moestack/collectives';
 *
 * const options = { mode: 'direct', experts: 64, topK: 6, hidden: 1024, maxTokensPerRank: 256 } as const;
 * console.log(dispatcherBytes(options, { nodes: 1, ranksPerNode: 4 })); // 21.4 MB
 * console.log(dispatcherBytes({ ...options, chunkTokens: 16 }, { nodes: 1, ranksPerNode: 4 })); // 5.3 MB
 * ```
 */
export function dispatcherBytes(options: DispatcherOptions, topology: DispatchTopology): number {
  const config = resolveConfig(options, topology);
  return config.inFlight * (streamBytes(config) + rowsBytes(config));
}

/** Buffers for both directions of `peers` connections. */
function both(peers: number, messageBytes: number, chunk: number): number {
  return 2 * peers * alignUp(messageBytes * chunk, ALIGNMENT);
}

function streamBytes(config: DispatcherConfig): number {
  const { mode, ranks, nodes, ranksPerNode, localExperts, chunkTokens, maxTokensPerRank } = config;
  const dispatch = dispatchMessage(config).bytes;
  const combine = combineMessage(config).bytes;
  if (mode !== 'hierarchical') {
    const counts = mode === 'direct' ? ranks + localExperts : localExperts;
    return (
      both(ranks, 4 * counts, 1) + both(ranks, dispatch, chunkTokens) + both(ranks, combine, chunkTokens)
    );
  }
  const inside = Math.min(chunkTokens, maxTokensPerRank) * nodes;
  return (
    both(ranks, 4 * (ranks + nodes + localExperts), 1) +
    both(nodes - 1, dispatch, chunkTokens) +
    both(ranksPerNode, dispatch, inside) +
    both(ranksPerNode, combine, inside) +
    both(nodes - 1, combine, chunkTokens)
  );
}

function rowsBytes(config: DispatcherConfig): number {
  const { mode, payload, combinePayload, hidden, topK, maxReceiveTokens, localExperts, expertAlignment } =
    config;
  const row = rowBytes(payload, hidden);
  const scales = payload === 'fp8' ? (hidden * 4) / SCALE_BLOCK : 0;
  const place = (rows: number, bytes: number): number => alignUp(rows * bytes, ALIGNMENT);
  if (mode === 'low-latency') return place(maxReceiveTokens, row);
  const received = place(maxReceiveTokens, row) + place(maxReceiveTokens, scales);
  if (!config.expand) return received;
  const expanded = maxReceiveTokens * topK + localExperts * (expertAlignment - 1);
  return (
    received +
    place(expanded, row) +
    place(expanded, scales) +
    place(maxReceiveTokens, rowBytes(combinePayload, hidden))
  );
}
