import type { CollectiveOp } from '../communicator/communicator.js';
import { linkClass, type Topology } from '../communicator/topology.js';
import {
  algorithmsOf,
  createSchedule,
  type NamedAlgorithm,
  type ScheduleRequest,
  supports,
} from './create-schedule.js';
import type { LinkFit } from './link-fit.js';

/**
 * Seconds that an algorithm takes by the alpha-beta-gamma model: for the slowest of a few ranks (first, last, root) the sum over its rounds of
 * alpha plus bytes over bandwidth for each link class, and of the reduced bytes over the reduction rate.
 */
export function estimateSeconds(request: Omit<ScheduleRequest, 'rank'>, fit: LinkFit): number {
  const { topology } = request;
  const last = topology.size - 1;
  const ranks = new Set([0, last, request.root ?? 0]);
  let slowest = 0;
  for (const rank of ranks) slowest = Math.max(slowest, rankSeconds({ ...request, rank }, topology, fit));
  return slowest;
}

function rankSeconds(request: ScheduleRequest, topology: Topology, fit: LinkFit): number {
  let seconds = 0;
  for (const round of createSchedule(request).rounds) {
    const sent = { self: 0, intra: 0, inter: 0 };
    const received = { self: 0, intra: 0, inter: 0 };
    let alpha = 0;
    for (const step of round.sends) {
      const link = linkClass(topology, request.rank, step.peer);
      sent[link] += step.source.bytes;
      alpha += link === 'inter' ? fit.inter.alphaSeconds : fit.intra.alphaSeconds;
    }
    let arriving = 0;
    for (const step of round.receives) {
      const link = linkClass(topology, request.rank, step.peer);
      received[link] += step.target.bytes;
      arriving += link === 'inter' ? fit.inter.alphaSeconds : fit.intra.alphaSeconds;
      if (step.left !== undefined) seconds += step.target.bytes / fit.reduceBytesPerSecond;
    }
    seconds += Math.max(alpha, arriving);
    seconds += Math.max(sent.intra, received.intra) / fit.intra.bytesPerSecond;
    seconds += Math.max(sent.inter, received.inter) / fit.inter.bytesPerSecond;
    for (const step of round.local) seconds += step.target.bytes / fit.intra.bytesPerSecond;
  }
  return seconds;
}

/** What `auto` has to choose for. */
export interface Choice {
  readonly op: CollectiveOp;
  readonly topology: Topology;
  readonly elementBytes: number;
  /** As in {@link ScheduleRequest}. */
  readonly counts: ArrayLike<number>;
  readonly root: number;
}

/** The algorithm with the least estimated time; a pure function, so all ranks choose the same. Ties go to the earlier one in {@link algorithmsOf}. */
export function chooseAlgorithm(choice: Choice, fit: LinkFit): NamedAlgorithm {
  const { op, topology } = choice;
  const counts = typicalCounts(choice);
  let best: NamedAlgorithm | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const algorithm of algorithmsOf[op]) {
    if (!supports(op, algorithm, topology)) continue;
    const seconds = estimateSeconds({ ...choice, counts, algorithm }, fit);
    if (seconds < least) {
      least = seconds;
      best = algorithm;
    }
  }
  return best as NamedAlgorithm;
}

/**
 * Equal parts, none of them empty: where parts are empty, a rank has fewer messages than the algorithm has steps, and the time of one rank says
 * nothing about how long the last one waits.
 */
function typicalCounts(choice: Choice): readonly number[] {
  const { op, counts, topology } = choice;
  if (counts.length === 0) return [];
  let total = 0;
  for (let index = 0; index < counts.length; index++) total += counts[index] as number;
  const mean = Math.max(1, Math.ceil(total / counts.length));
  if (op === 'allReduce' || op === 'broadcast' || op === 'reduce') return [Math.max(mean, topology.size)];
  return op === 'allToAll' ? [mean] : new Array<number>(counts.length).fill(mean);
}
