import type { Region, Round, Schedule } from '../schedule/ir.js';
import type { TrafficCounters } from './counters.js';
import type { Dtype, Reduction } from './dtype.js';
import { BoundCopy, bindReduction } from './reductions.js';
import type { BoundReduction, Channel, ReceiveChannel, SendChannel, Transport } from './transport.js';
import type { Waitable } from './waiting.js';

/** Something that runs again and again on fixed buffers. */
export interface Runner extends Waitable {
  start(): void;
  /** One blocking call instead of start and test, where the engine has it. */
  run?(timeoutSeconds: number): void;
  close(): void;
  /** First tag beyond those in use. */
  readonly tagEnd: number;
}

/** What a schedule is bound to. */
export interface Binding {
  readonly transport: Transport;
  readonly input: Uint8Array;
  readonly output: Uint8Array;
  readonly dtype: Dtype;
  readonly reduction: Reduction;
  readonly tagBase: number;
}

interface BoundRound {
  readonly local: readonly BoundReduction[];
  readonly receives: readonly ReceiveChannel[];
  readonly sends: readonly SendChannel[];
  /** Receives, then sends. */
  readonly channels: readonly Channel[];
  /** By index of `channels`: what to reduce when it has completed. */
  readonly after: readonly (BoundReduction | undefined)[];
}

const ALIGNMENT = 64;

/** A schedule with its channels opened; `start` and `test` allocate nothing. */
export class ScheduleRunner implements Runner {
  readonly tagEnd: number;
  readonly #transport: Transport;
  readonly #rounds: BoundRound[] = [];
  readonly #scratch: Uint8Array | undefined;
  readonly #before: BoundReduction | undefined;
  #round: number;
  #next = 0;

  /** @param before - local work ahead of the first round. */
  constructor(schedule: Schedule, binding: Binding, before?: BoundReduction) {
    this.#before = before;
    const { transport } = binding;
    this.#transport = transport;
    const fused = transport.openReceiveReduce !== undefined;
    const scratchBytes = schedule.scratchBytes + (fused ? 0 : stagingBytes(schedule));
    this.#scratch = scratchBytes === 0 ? undefined : transport.allocate(scratchBytes);
    this.#round = schedule.rounds.length;
    const opener = new ChannelOpener(binding, this.#scratch ?? new Uint8Array(0), schedule.scratchBytes);
    try {
      for (const round of schedule.rounds) this.#rounds.push(opener.open(round));
    } catch (error) {
      this.#round = this.#rounds.length;
      opener.close();
      if (this.#scratch !== undefined) transport.release(this.#scratch);
      throw error;
    }
    this.#round = this.#rounds.length;
    this.tagEnd = opener.tagEnd;
  }

  start(): void {
    this.#round = 0;
    this.#next = 0;
    if (this.#before !== undefined) this.#before.run();
    if (this.#rounds.length > 0) this.#enter(this.#rounds[0] as BoundRound);
  }

  test(): boolean {
    const rounds = this.#rounds;
    while (this.#round < rounds.length) {
      const { channels, after } = rounds[this.#round] as BoundRound;
      while (this.#next < channels.length) {
        if (!(channels[this.#next] as Channel).test()) return false;
        const reduction = after[this.#next];
        if (reduction !== undefined) reduction.run();
        this.#next++;
      }
      this.#next = 0;
      this.#round++;
      if (this.#round < rounds.length) this.#enter(rounds[this.#round] as BoundRound);
    }
    return true;
  }

  missing(): readonly number[] {
    const round = this.#rounds[this.#round];
    if (round === undefined) return [];
    const peers = new Set<number>();
    for (let index = this.#next; index < round.channels.length; index++) {
      const channel = round.channels[index] as Channel;
      if (!channel.test()) peers.add(channel.peer);
    }
    return [...peers].sort((a, b) => a - b);
  }

  close(): void {
    for (const round of this.#rounds) for (const channel of round.channels) channel.close();
    if (this.#scratch !== undefined) this.#transport.release(this.#scratch);
    this.#rounds.length = 0;
    this.#round = 0;
  }

  #enter(round: BoundRound): void {
    const { local, receives, sends } = round;
    for (let index = 0; index < local.length; index++) (local[index] as BoundReduction).run();
    for (let index = 0; index < receives.length; index++) (receives[index] as ReceiveChannel).start();
    for (let index = 0; index < sends.length; index++) (sends[index] as SendChannel).start();
  }
}

/** Room for the messages of one round that are reduced after they came. */
function stagingBytes(schedule: Schedule): number {
  let most = 0;
  for (const round of schedule.rounds) {
    let bytes = 0;
    for (const step of round.receives) if (step.left !== undefined) bytes += align(step.target.bytes);
    most = Math.max(most, bytes);
  }
  return most;
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** Opens the channels of one rank; the k-th message between two ranks has tag base + k on both sides. */
class ChannelOpener {
  tagEnd: number;
  readonly #binding: Binding;
  readonly #scratch: Uint8Array;
  readonly #stagingStart: number;
  readonly #opened: Channel[] = [];
  readonly #sentTo = new Map<number, number>();
  readonly #receivedFrom = new Map<number, number>();

  constructor(binding: Binding, scratch: Uint8Array, stagingStart: number) {
    this.#binding = binding;
    this.#scratch = scratch;
    this.#stagingStart = stagingStart;
    this.tagEnd = binding.tagBase;
  }

  open(round: Round): BoundRound {
    const { transport, dtype, reduction } = this.#binding;
    const after: (BoundReduction | undefined)[] = [];
    let staging = align(this.#stagingStart);
    const local = round.local.map((step): BoundReduction => {
      if (step.kind === 'reduce') {
        const { target, left, right } = step;
        return bindReduction(
          transport,
          dtype,
          reduction,
          this.#view(target),
          this.#view(left),
          this.#view(right),
        );
      }
      const target = this.#view(step.target);
      const source = this.#view(step.source);
      const copy = transport.bindCopy?.(target, source) ?? new BoundCopy(target, source);
      return step.delivery ? new Delivery(copy, transport.counters, source.length) : copy;
    });
    const receives = round.receives.map((step): ReceiveChannel => {
      const tag = this.#tag(this.#receivedFrom, step.peer);
      const target = this.#view(step.target);
      if (step.left === undefined) {
        after.push(undefined);
        return this.#keep(transport.openReceive(step.peer, tag, target));
      }
      const left = this.#view(step.left);
      if (transport.openReceiveReduce !== undefined) {
        after.push(undefined);
        return this.#keep(transport.openReceiveReduce(step.peer, tag, { dtype, reduction, target, left }));
      }
      const message = this.#scratch.subarray(staging, staging + target.length);
      staging += align(target.length);
      after.push(bindReduction(transport, dtype, reduction, target, left, message));
      return this.#keep(transport.openReceive(step.peer, tag, message));
    });
    const sends = round.sends.map((step): SendChannel => {
      after.push(undefined);
      return this.#keep(
        transport.openSend(step.peer, this.#tag(this.#sentTo, step.peer), this.#view(step.source)),
      );
    });
    return { local, receives, sends, channels: [...receives, ...sends], after };
  }

  close(): void {
    for (const channel of this.#opened) channel.close();
  }

  #keep<C extends Channel>(channel: C): C {
    this.#opened.push(channel);
    return channel;
  }

  #tag(used: Map<number, number>, peer: number): number {
    const index = used.get(peer) ?? 0;
    used.set(peer, index + 1);
    const tag = this.#binding.tagBase + index;
    this.tagEnd = Math.max(this.tagEnd, tag + 1);
    return tag;
  }

  #view(region: Region): Uint8Array {
    const { input, output } = this.#binding;
    const buffer = region.buffer === 'in' ? input : region.buffer === 'out' ? output : this.#scratch;
    return buffer.subarray(region.offset, region.offset + region.bytes);
  }
}

/** A copy to the own rank that counts as traffic. */
class Delivery implements BoundReduction {
  readonly #copy: BoundReduction;
  readonly #counters: TrafficCounters;
  readonly #bytes: number;

  constructor(copy: BoundReduction, counters: TrafficCounters, bytes: number) {
    this.#copy = copy;
    this.#counters = counters;
    this.#bytes = bytes;
  }

  run(): void {
    this.#copy.run();
    this.#counters.countSelf(this.#bytes);
  }
}
