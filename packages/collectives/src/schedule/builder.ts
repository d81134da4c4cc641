import type { BufferName, LocalStep, ReceiveStep, Region, Round, Schedule, SendStep } from './ir.js';

const SCRATCH_ALIGNMENT = 64;

/** A region of `buffer`. */
export function region(buffer: BufferName, offset: number, bytes: number): Region {
  return { buffer, offset, bytes };
}

/** The part of `whole` that starts `offset` bytes into it. */
export function part(whole: Region, offset: number, bytes: number): Region {
  return { buffer: whole.buffer, offset: whole.offset + offset, bytes };
}

/** Collects the steps of one rank; steps of zero bytes are dropped, as they are on the other side. */
export class ScheduleBuilder {
  readonly rank: number;
  readonly size: number;
  #scratchBytes = 0;
  readonly #rounds: Round[] = [];
  #local: LocalStep[] = [];
  #sends: SendStep[] = [];
  #receives: ReceiveStep[] = [];

  constructor(rank: number, size: number) {
    this.rank = rank;
    this.size = size;
  }

  /** Reserves scratch memory for the whole schedule. */
  scratch(bytes: number): Region {
    const offset = this.#scratchBytes;
    this.#scratchBytes += Math.ceil(bytes / SCRATCH_ALIGNMENT) * SCRATCH_ALIGNMENT;
    return region('scratch', offset, bytes);
  }

  send(peer: number, source: Region): void {
    if (source.bytes > 0) this.#sends.push({ peer, source });
  }

  receive(peer: number, target: Region): void {
    if (target.bytes > 0) this.#receives.push({ peer, target });
  }

  /** `target = left ⊕ message`. */
  receiveReduce(peer: number, target: Region, left: Region): void {
    if (target.bytes > 0) this.#receives.push({ peer, target, left });
  }

  /** A message without payload, for barriers. */
  signal(to: number, from: number): void {
    this.#sends.push({ peer: to, source: region('in', 0, 0) });
    this.#receives.push({ peer: from, target: region('out', 0, 0) });
  }

  /** A copy onto itself is dropped. */
  copy(source: Region, target: Region, delivery = false): void {
    if (source.bytes === 0 || (source.buffer === target.buffer && source.offset === target.offset)) return;
    // Local steps come first in a round, so one that follows messages opens the next round.
    this.endRound();
    this.#local.push({ kind: 'copy', source, target, delivery });
  }

  /** Ends the messages that go on at the same time; does nothing when there were none. */
  endRound(): void {
    if (this.#sends.length > 0 || this.#receives.length > 0) this.#push();
  }

  finish(): Schedule {
    if (this.#local.length > 0 || this.#sends.length > 0 || this.#receives.length > 0) this.#push();
    return { rank: this.rank, size: this.size, rounds: this.#rounds, scratchBytes: this.#scratchBytes };
  }

  #push(): void {
    this.#rounds.push({ local: this.#local, sends: this.#sends, receives: this.#receives });
    this.#local = [];
    this.#sends = [];
    this.#receives = [];
  }
}
