import { linkClass } from '../communicator/topology.js';
import { createSchedule, type ScheduleRequest, totalsOf } from '../schedule/create-schedule.js';
import type { Round, ScheduleTotals } from '../schedule/ir.js';
import { checkLinks } from './dispatch-cost.js';
import type { ClusterLinks } from './links.js';

/** Bytes that one rank sends and receives over a link class. */
export interface LinkBytes {
  readonly intra: number;
  readonly inter: number;
}

/** Price of a named algorithm for one rank. */
export interface RankCost {
  readonly rank: number;
  readonly seconds: number;
  /** Seconds by what decides them. */
  readonly alphaSeconds: number;
  readonly transferSeconds: number;
  readonly reduceSeconds: number;
  /** Rounds, messages and bytes of the schedule that runs. */
  readonly totals: ScheduleTotals;
  readonly sentBytes: LinkBytes;
}

/** Price of a named algorithm. */
export interface CollectiveCost {
  /** Of the slowest rank that was priced. */
  readonly seconds: number;
  readonly slowest: RankCost;
  readonly ranks: readonly RankCost[];
}

/** What to price: a schedule request without its rank. */
export type CollectiveCostRequest = Omit<ScheduleRequest, 'rank'> & {
  /** Ranks to price; default: the first and last rank, the root, and the first rank of its node, which bound every other. */
  readonly ranks?: readonly number[];
};

/**
 * Prices a collective by the schedule that the executor runs: over its rounds, the slower link class decides (alpha + bytes * sharing / rate), and
 * reductions are added. O(ranks) for each priced rank; no pair of ranks is looked at twice.
 *
 * Ranks of a node are taken to be in the same round, so `ranksPerNic` ranks share a card in every round that crosses nodes.
 *
 * @example
 * ```ts
 * import { collectiveCost, h800Normal, uniformTopology } from '@moestack/collectives/cost';
 *
 * const topology = uniformTopology(2, 8);
 * const cost = collectiveCost({ op: 'allReduce', algorithm: 'ring', topology, counts: [1 << 20] }, h800Normal);
 * console.log(cost.slowest.totals.rounds, cost.seconds); // 30 rounds
 * ```
 */
export function collectiveCost(request: CollectiveCostRequest, links: ClusterLinks): CollectiveCost {
  checkLinks(links);
  const ranks = [...new Set(request.ranks ?? representatives(request))];
  const priced = ranks.map((rank) => rankCost({ ...request, rank }, links));
  let slowest = priced[0] as RankCost;
  for (const cost of priced) if (cost.seconds > slowest.seconds) slowest = cost;
  return { seconds: slowest.seconds, slowest, ranks: priced };
}

function representatives(request: CollectiveCostRequest): number[] {
  const { size, nodeOf, members } = request.topology;
  const root = Math.min(request.root ?? 0, size - 1);
  const leader = members[nodeOf[root] as number]?.[0] as number;
  return [0, size - 1, root, leader];
}

function rankCost(request: ScheduleRequest, links: ClusterLinks): RankCost {
  const schedule = createSchedule(request);
  let alphaSeconds = 0;
  let transferSeconds = 0;
  const sentBytes = { intra: 0, inter: 0 };
  for (const round of schedule.rounds) {
    const bytes = roundBytes(round, request);
    sentBytes.intra += bytes.sent.intra;
    sentBytes.inter += bytes.sent.inter;
    const intra = Math.max(bytes.sent.intra, bytes.received.intra) * (links.ranksPerIntraLink ?? 1);
    const inter = Math.max(bytes.sent.inter, bytes.received.inter) * (links.ranksPerNic ?? 1);
    const intraAlpha = bytes.intra ? links.intra.alphaSeconds : 0;
    const interAlpha = bytes.inter ? links.inter.alphaSeconds : 0;
    const intraSeconds = intraAlpha + intra / links.intra.bytesPerSecond;
    const interSeconds = interAlpha + inter / links.inter.bytesPerSecond;
    const crossing = interSeconds >= intraSeconds;
    alphaSeconds += crossing ? interAlpha : intraAlpha;
    transferSeconds += crossing ? interSeconds - interAlpha : intraSeconds - intraAlpha;
  }
  const totals = totalsOf(schedule);
  const reduceSeconds =
    links.reduceBytesPerSecond === undefined ? 0 : totals.reducedBytes / links.reduceBytesPerSecond;
  return {
    rank: request.rank,
    seconds: alphaSeconds + transferSeconds + reduceSeconds,
    alphaSeconds,
    transferSeconds,
    reduceSeconds,
    totals,
    sentBytes,
  };
}

interface RoundBytes {
  readonly sent: { intra: number; inter: number };
  readonly received: { intra: number; inter: number };
  /** Whether there is a message of that class. */
  intra: boolean;
  inter: boolean;
}

function roundBytes(round: Round, request: ScheduleRequest): RoundBytes {
  const bytes: RoundBytes = {
    sent: { intra: 0, inter: 0 },
    received: { intra: 0, inter: 0 },
    intra: false,
    inter: false,
  };
  for (const step of round.sends) {
    const link = linkClass(request.topology, request.rank, step.peer) === 'inter' ? 'inter' : 'intra';
    bytes[link] = true;
    bytes.sent[link] += step.source.bytes;
  }
  for (const step of round.receives) {
    const link = linkClass(request.topology, request.rank, step.peer) === 'inter' ? 'inter' : 'intra';
    bytes[link] = true;
    bytes.received[link] += step.target.bytes;
  }
  return bytes;
}
