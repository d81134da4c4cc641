import { CollectivesError } from '../errors.js';
import type { DispatcherConfig } from './config.js';
import type { Route } from './route.js';

/** Fills the receive side of a route from its matrix of counts. */
export function setReceiveOffsets(route: Route, rank: number, ranks: number): void {
  let rows = 0;
  for (let source = 0; source < ranks; source++) {
    const count = route.counts[source * ranks + rank]!;
    route.receiveOffsets[source] = rows;
    route.received[source] = count;
    rows += count;
  }
  route.receiveOffsets[ranks] = rows;
  route.rows = rows;
}

/**
 * Throws when any rank would receive more rows than `maxReceiveTokens`. Every rank sees the same counts, so every rank
 * throws, before a token has been sent.
 */
export function checkCapacity(route: Route, config: DispatcherConfig): void {
  const { ranks, maxReceiveTokens } = config;
  if (maxReceiveTokens >= ranks * config.maxTokensPerRank) return;
  for (let rank = 0; rank < ranks; rank++) {
    let rows = 0;
    for (let source = 0; source < ranks; source++) rows += route.counts[source * ranks + rank]!;
    if (rows <= maxReceiveTokens) continue;
    throw new CollectivesError({
      code: 'collectives/bad-shape',
      message: `rank ${rank} would receive ${rows} tokens, maxReceiveTokens is ${maxReceiveTokens}`,
      value: { rank, rows, maxReceiveTokens },
      remedy: 'raise maxReceiveTokens, pass fewer tokens, or balance the experts; no token has been sent',
    });
  }
}
