import type { Algorithm, CollectiveOp } from '../communicator/communicator.js';
import type { Topology } from '../communicator/topology.js';
import { CollectivesError } from '../errors.js';
import { binomialBroadcast, binomialGather, binomialReduce, binomialScatter } from './binomial.js';
import { bruckAllGather, bruckAllToAll, disseminationBarrier } from './bruck.js';
import { region, ScheduleBuilder } from './builder.js';
import { chunk, everyone, type Group } from './group.js';
import { halvingDoublingAllReduce, halvingReduceScatter } from './halving-doubling.js';
import type { Region, Schedule, ScheduleTotals } from './ir.js';
import {
  directGather,
  directScatter,
  pairwiseAllGather,
  pairwiseAllToAll,
  pairwiseReduceScatter,
} from './pairwise.js';
import { evenPartition, type Partition, partBytes, partitionOf, powerOfTwoBelow } from './partition.js';
import { recursiveDoublingAllGather, recursiveDoublingAllReduce } from './recursive-doubling.js';
import { ringAllGather, ringAllReduce, ringReduceScatter } from './ring.js';
import {
  twoLevelAllGather,
  twoLevelAllReduce,
  twoLevelAllToAll,
  twoLevelBroadcast,
  twoLevelReduce,
} from './two-level.js';

/** An algorithm that is executed step by step, on every transport. */
export type NamedAlgorithm = Exclude<Algorithm, 'native'>;

/** What to schedule for one rank. Counts are elements. */
export interface ScheduleRequest {
  readonly op: CollectiveOp;
  readonly algorithm: NamedAlgorithm;
  readonly rank: number;
  readonly topology: Topology;
  /** Default 4. */
  readonly elementBytes?: number;
  /**
   * One entry for allReduce, broadcast and reduce; one for each rank for reduceScatter, allGather, gather and scatter; none for barrier. For allToAll the
   * counts of all pairs, row-major [from, to]; or one entry: every rank sends that many to every rank.
   */
  readonly counts: ArrayLike<number>;
  /** Broadcast, reduce, gather, scatter; default 0. */
  readonly root?: number;
  /** Whether input and output are the same memory (allReduce, reduce); default false. */
  readonly inPlace?: boolean;
}

/** The algorithms of each operation, in the order in which ties of the automatic choice are resolved. */
export const algorithmsOf: Readonly<Record<CollectiveOp, readonly NamedAlgorithm[]>> = {
  allReduce: ['recursive-doubling', 'halving-doubling', 'ring', 'two-level'],
  reduceScatter: ['halving-doubling', 'ring', 'pairwise'],
  allGather: ['recursive-doubling', 'bruck', 'ring', 'pairwise', 'direct', 'two-level'],
  allToAll: ['direct', 'pairwise', 'bruck', 'two-level'],
  broadcast: ['binomial', 'ring', 'two-level'],
  reduce: ['binomial', 'ring', 'two-level'],
  gather: ['binomial', 'direct'],
  scatter: ['binomial', 'direct'],
  barrier: ['dissemination'],
};

/** Whether `algorithm` performs `op` on this topology: two-level allGather and allToAll need equal nodes. */
export function supports(op: CollectiveOp, algorithm: NamedAlgorithm, topology: Topology): boolean {
  if (!algorithmsOf[op].includes(algorithm)) return false;
  return algorithm !== 'two-level' || topology.ranksPerNode > 0 || (op !== 'allGather' && op !== 'allToAll');
}

/**
 * The steps of one rank, a pure function of its arguments; all ranks of the same request together form the algorithm.
 *
 * @throws CollectivesError `collectives/unsupported` when the algorithm does not perform the operation.
 * @example
 * ```ts
 * import { createSchedule, totalsOf, uniformTopology } from '@moestack/collectives';
 *
 * const topology = uniformTopology(1, 4);
 * const schedule = createSchedule({ op: 'allReduce', algorithm: 'ring', rank: 0, topology, counts: [1024] });
 * console.log(totalsOf(schedule)); // rounds 6, bytesSent 6144
 * ```
 */
export function createSchedule(request: ScheduleRequest): Schedule {
  const { op, algorithm, rank, topology } = request;
  const { size } = topology;
  if (!supports(op, algorithm, topology)) throw unsupported(op, algorithm);
  const builder = new ScheduleBuilder(rank, size);
  const group = everyone(rank, size);
  const elementBytes = request.elementBytes ?? 4;
  const root = request.root ?? 0;
  const inPlace = request.inPlace ?? false;
  switch (op) {
    case 'barrier':
      disseminationBarrier(builder, group);
      break;
    case 'allReduce':
      allReduce(builder, group, topology, algorithm, request.counts[0] as number, elementBytes, inPlace);
      break;
    case 'broadcast':
      broadcast(builder, group, topology, algorithm, request.counts[0] as number, elementBytes, root);
      break;
    case 'reduce':
      reduce(builder, group, topology, algorithm, request.counts[0] as number, elementBytes, root, inPlace);
      break;
    case 'allToAll':
      allToAll(builder, group, topology, algorithm, request.counts, elementBytes);
      break;
    default:
      partitioned(
        builder,
        group,
        topology,
        op,
        algorithm,
        partitionOf(Array.from(request.counts), elementBytes),
        root,
      );
  }
  return builder.finish();
}

function allReduce(
  builder: ScheduleBuilder,
  group: Group,
  topology: Topology,
  algorithm: NamedAlgorithm,
  count: number,
  elementBytes: number,
  inPlace: boolean,
): void {
  const input = region('in', 0, count * elementBytes);
  const output = region('out', 0, count * elementBytes);
  if (builder.size === 1) {
    if (!inPlace) builder.copy(input, output);
  } else if (algorithm === 'ring') {
    ringAllReduce(builder, group, evenPartition(count, builder.size, elementBytes), input, output);
  } else if (algorithm === 'recursive-doubling') {
    recursiveDoublingAllReduce(builder, group, input, output, inPlace);
  } else if (algorithm === 'halving-doubling') {
    const parts = evenPartition(count, powerOfTwoBelow(builder.size), elementBytes);
    halvingDoublingAllReduce(builder, group, parts, input, output);
  } else {
    twoLevelAllReduce(builder, topology, elementBytes, input, output, inPlace);
  }
}

function broadcast(
  builder: ScheduleBuilder,
  group: Group,
  topology: Topology,
  algorithm: NamedAlgorithm,
  count: number,
  elementBytes: number,
  root: number,
): void {
  const data = region('out', 0, count * elementBytes);
  if (algorithm === 'binomial') {
    binomialBroadcast(builder, group, root, data);
  } else if (algorithm === 'ring') {
    const parts = evenPartition(count, builder.size, elementBytes);
    binomialScatter(builder, group, root, parts, data, chunk(data, parts, group.me));
    ringAllGather(builder, group, parts, data);
  } else {
    twoLevelBroadcast(builder, topology, root, data);
  }
}

function reduce(
  builder: ScheduleBuilder,
  group: Group,
  topology: Topology,
  algorithm: NamedAlgorithm,
  count: number,
  elementBytes: number,
  root: number,
  inPlace: boolean,
): void {
  const input = region('in', 0, count * elementBytes);
  const output = region('out', 0, count * elementBytes);
  if (builder.size === 1) {
    if (!inPlace) builder.copy(input, output);
  } else if (algorithm === 'binomial') {
    binomialReduce(builder, group, root, input, output, inPlace);
  } else if (algorithm === 'ring') {
    const parts = evenPartition(count, builder.size, elementBytes);
    const isRoot = group.me === root;
    const mine: Region = isRoot ? chunk(output, parts, root) : builder.scratch(partBytes(parts, group.me));
    ringReduceScatter(builder, group, parts, input, mine);
    directGather(builder, group, root, parts, mine, output);
  } else {
    twoLevelReduce(builder, topology, root, input, output, inPlace);
  }
}

function allToAll(
  builder: ScheduleBuilder,
  group: Group,
  topology: Topology,
  algorithm: NamedAlgorithm,
  counts: ArrayLike<number>,
  elementBytes: number,
): void {
  const { rank, size } = builder;
  const bytes =
    counts.length === size * size
      ? (from: number, to: number): number => (counts[from * size + to] as number) * elementBytes
      : (): number => (counts[0] as number) * elementBytes;
  const sends = partitionOf(
    group.ranks.map((peer) => bytes(rank, peer)),
    1,
  );
  const receives = partitionOf(
    group.ranks.map((peer) => bytes(peer, rank)),
    1,
  );
  if (algorithm === 'bruck') bruckAllToAll(builder, group, bytes, sends, receives);
  else if (algorithm === 'two-level') twoLevelAllToAll(builder, topology, bytes, sends, receives);
  else pairwiseAllToAll(builder, group, sends, receives, algorithm === 'direct');
}

function partitioned(
  builder: ScheduleBuilder,
  group: Group,
  topology: Topology,
  op: 'reduceScatter' | 'allGather' | 'gather' | 'scatter',
  algorithm: NamedAlgorithm,
  parts: Partition,
  root: number,
): void {
  const whole = parts.offsets[parts.parts] as number;
  const own = partBytes(parts, group.me);
  if (op === 'reduceScatter') {
    const schedule =
      algorithm === 'ring'
        ? ringReduceScatter
        : algorithm === 'pairwise'
          ? pairwiseReduceScatter
          : halvingReduceScatter;
    schedule(builder, group, parts, region('in', 0, whole), region('out', 0, own));
  } else if (op === 'gather') {
    const schedule = algorithm === 'direct' ? directGather : binomialGather;
    schedule(builder, group, root, parts, region('in', 0, own), region('out', 0, whole));
  } else if (op === 'scatter') {
    const schedule = algorithm === 'direct' ? directScatter : binomialScatter;
    schedule(builder, group, root, parts, region('in', 0, whole), region('out', 0, own));
  } else {
    const input = region('in', 0, own);
    const output = region('out', 0, whole);
    if (algorithm === 'bruck') {
      bruckAllGather(builder, group, parts, input, output);
      return;
    }
    builder.copy(input, chunk(output, parts, group.me), true);
    if (algorithm === 'ring') ringAllGather(builder, group, parts, output);
    else if (algorithm === 'recursive-doubling') recursiveDoublingAllGather(builder, group, parts, output);
    else if (algorithm === 'two-level') twoLevelAllGather(builder, topology, parts, output);
    else pairwiseAllGather(builder, group, parts, output, algorithm === 'direct');
  }
}

function unsupported(op: CollectiveOp, algorithm: string): CollectivesError {
  return new CollectivesError({
    code: 'collectives/unsupported',
    message: `expected one of ${algorithmsOf[op].join(', ')} for ${op}, got ${algorithm}`,
    value: { op, algorithm },
    remedy: 'choose one of these, or auto; two-level allGather and allToAll need nodes of equal size',
  });
}

/** Sums what a schedule costs its rank. */
export function totalsOf(schedule: Schedule): ScheduleTotals {
  let rounds = 0;
  let messagesSent = 0;
  let bytesSent = 0;
  let messagesReceived = 0;
  let bytesReceived = 0;
  let reducedBytes = 0;
  for (const round of schedule.rounds) {
    if (round.sends.length + round.receives.length > 0) rounds++;
    messagesSent += round.sends.length;
    messagesReceived += round.receives.length;
    for (const step of round.sends) bytesSent += step.source.bytes;
    for (const step of round.receives) {
      bytesReceived += step.target.bytes;
      if (step.left !== undefined) reducedBytes += step.target.bytes;
    }
    for (const step of round.local) if (step.kind === 'reduce') reducedBytes += step.target.bytes;
  }
  return { rounds, messagesSent, bytesSent, messagesReceived, bytesReceived, reducedBytes };
}
