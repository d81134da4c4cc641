import type { LocalStep, Region, Schedule } from '../../src/schedule/ir.js';

/** Memory of one rank of an interpreted algorithm. */
export interface RankMemory {
  readonly in: Uint8Array;
  readonly out: Uint8Array;
  readonly scratch: Uint8Array;
}

export type Combine = (left: Uint8Array, right: Uint8Array) => Uint8Array;

/**
 * Runs the schedules of all ranks together on plain memory: an independent reading of the rules of the schedule types.
 * Fails when messages do not meet, lengths differ, regions of one round overlap, or nothing can go on.
 */
export function interpret(
  schedules: readonly Schedule[],
  memories: readonly RankMemory[],
  combine: Combine,
): void {
  const size = schedules.length;
  const queues = new Map<string, Uint8Array[]>();
  const queue = (from: number, to: number): Uint8Array[] => {
    const key = `${from}>${to}`;
    let list = queues.get(key);
    if (list === undefined) queues.set(key, (list = []));
    return list;
  };
  const view = (rank: number, region: Region): Uint8Array => {
    const buffer = (memories[rank] as RankMemory)[region.buffer];
    if (region.offset < 0 || region.offset + region.bytes > buffer.length) {
      throw new Error(`rank ${rank}: ${JSON.stringify(region)} leaves a buffer of ${buffer.length} bytes`);
    }
    return buffer.subarray(region.offset, region.offset + region.bytes);
  };
  const position = new Int32Array(size);
  const sent = new Int32Array(size).fill(-1);
  let moved = true;
  while (moved) {
    moved = false;
    for (let rank = 0; rank < size; rank++) {
      const schedule = schedules[rank] as Schedule;
      const round = schedule.rounds[position[rank] as number];
      if (round === undefined) continue;
      if (sent[rank] !== position[rank]) {
        for (const step of round.local) runLocal(step, rank, view, combine);
        checkOverlaps(schedule, position[rank] as number);
        for (const step of round.sends) queue(rank, step.peer).push(view(rank, step.source).slice());
        sent[rank] = position[rank] as number;
        moved = true;
      }
      const needed = new Map<number, number>();
      for (const step of round.receives) needed.set(step.peer, (needed.get(step.peer) ?? 0) + 1);
      if ([...needed].some(([peer, count]) => queue(peer, rank).length < count)) continue;
      for (const step of round.receives) {
        const message = queue(step.peer, rank).shift() as Uint8Array;
        if (message.length !== step.target.bytes) {
          throw new Error(
            `rank ${rank} expects ${step.target.bytes} bytes of ${step.peer}, got ${message.length}`,
          );
        }
        const value = step.left === undefined ? message : combine(view(rank, step.left), message);
        view(rank, step.target).set(value);
      }
      (position[rank] as number)++;
      moved = true;
    }
  }
  for (let rank = 0; rank < size; rank++) {
    if (position[rank] !== (schedules[rank] as Schedule).rounds.length)
      throw new Error(`rank ${rank} is stuck`);
  }
  for (const [key, list] of queues) if (list.length > 0) throw new Error(`${key}: a message nobody received`);
}

function runLocal(
  step: LocalStep,
  rank: number,
  view: (rank: number, region: Region) => Uint8Array,
  combine: Combine,
): void {
  if (step.kind === 'copy') view(rank, step.target).set(view(rank, step.source).slice());
  else view(rank, step.target).set(combine(view(rank, step.left), view(rank, step.right)));
}

function overlaps(a: Region, b: Region): boolean {
  return a.buffer === b.buffer && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

function checkOverlaps(schedule: Schedule, index: number): void {
  const round = schedule.rounds[index];
  if (round === undefined) return;
  round.receives.forEach((step, position) => {
    for (const send of round.sends) {
      if (overlaps(step.target, send.source)) throw new Error(`round ${index} receives into what it sends`);
    }
    round.receives.forEach((other, otherPosition) => {
      if (otherPosition === position) return;
      if (overlaps(step.target, other.target) || (other.left && overlaps(step.target, other.left))) {
        throw new Error(`round ${index} receives twice into the same place`);
      }
    });
  });
}
