import { CollectivesError } from '../errors.js';
import { bytesPerElement, type Dtype } from './dtype.js';
import type { Runner } from './runner.js';
import type { ReceiveChannel, SendChannel, Transport } from './transport.js';

/** Buffers and capacities of an exchange whose counts change from run to run. */
export interface VariableBinding {
  readonly transport: Transport;
  readonly dtype: Dtype;
  readonly input: Uint8Array;
  readonly output: Uint8Array;
  readonly tagBase: number;
  /** By rank, elements. */
  readonly sendCapacities: readonly number[];
  readonly receiveCapacities: readonly number[];
  /** Read at `start`. */
  readonly sendCounts: Int32Array;
  /** Written when a run is complete. */
  readonly receivedCounts: Int32Array;
}

/** All-to-all in one round with counts chosen at every start, up to the planned capacities. */
export class VariableRunner implements Runner {
  readonly tagEnd: number;
  readonly #binding: VariableBinding;
  readonly #elementBytes: number;
  readonly #sends: SendChannel[] = [];
  readonly #receives: ReceiveChannel[] = [];
  readonly #ownSource: Uint8Array;
  readonly #ownTarget: Uint8Array;
  #next: number;
  /** The view of the own part, kept while its length does not change. */
  #ownPart: Uint8Array;

  constructor(binding: VariableBinding) {
    this.#binding = binding;
    const { transport, sendCapacities, receiveCapacities, tagBase } = binding;
    const { rank, size } = transport;
    const bytes = bytesPerElement(binding.dtype);
    this.#elementBytes = bytes;
    this.tagEnd = tagBase + 1;
    const sendOffsets = offsets(sendCapacities, bytes);
    const receiveOffsets = offsets(receiveCapacities, bytes);
    const source = (peer: number): Uint8Array =>
      binding.input.subarray(sendOffsets[peer], sendOffsets[peer + 1] as number);
    const target = (peer: number): Uint8Array =>
      binding.output.subarray(receiveOffsets[peer], receiveOffsets[peer + 1] as number);
    for (let step = 1; step < size; step++) {
      const from = (rank - step + size) % size;
      const to = (rank + step) % size;
      if (receiveCapacities[from] !== 0)
        this.#receives.push(transport.openReceive(from, tagBase, target(from)));
      if (sendCapacities[to] !== 0) this.#sends.push(transport.openSend(to, tagBase, source(to)));
    }
    this.#ownSource = source(rank);
    this.#ownTarget = target(rank);
    this.#ownPart = this.#ownSource;
    this.#next = this.#receives.length + this.#sends.length;
  }

  start(): void {
    const { transport, sendCounts, sendCapacities, receivedCounts } = this.#binding;
    for (let peer = 0; peer < sendCounts.length; peer++) {
      const count = sendCounts[peer] as number;
      if (count < 0 || count > (sendCapacities[peer] as number))
        throw tooMany(peer, count, sendCapacities[peer] as number);
    }
    for (let index = 0; index < this.#receives.length; index++)
      (this.#receives[index] as ReceiveChannel).start();
    for (let index = 0; index < this.#sends.length; index++) {
      const channel = this.#sends[index] as SendChannel;
      channel.start((sendCounts[channel.peer] as number) * this.#elementBytes);
    }
    const own = (sendCounts[transport.rank] as number) * this.#elementBytes;
    if (this.#ownSource.length > 0) {
      if (this.#ownPart.length !== own) this.#ownPart = this.#ownSource.subarray(0, own);
      this.#ownTarget.set(this.#ownPart);
      transport.counters.countSelf(own);
    }
    receivedCounts.fill(0);
    receivedCounts[transport.rank] = sendCounts[transport.rank] as number;
    this.#next = 0;
  }

  test(): boolean {
    const receives = this.#receives;
    const all = receives.length + this.#sends.length;
    while (this.#next < all) {
      const index = this.#next;
      if (index < receives.length) {
        const channel = receives[index] as ReceiveChannel;
        if (!channel.test()) return false;
        this.#binding.receivedCounts[channel.peer] = channel.transferredBytes / this.#elementBytes;
      } else if (!(this.#sends[index - receives.length] as SendChannel).test()) {
        return false;
      }
      this.#next++;
    }
    return true;
  }

  missing(): readonly number[] {
    const peers = new Set<number>();
    for (const channel of this.#receives) if (!channel.test()) peers.add(channel.peer);
    for (const channel of this.#sends) if (!channel.test()) peers.add(channel.peer);
    return [...peers].sort((a, b) => a - b);
  }

  close(): void {
    for (const channel of this.#receives) channel.close();
    for (const channel of this.#sends) channel.close();
  }
}

function offsets(counts: readonly number[], bytes: number): number[] {
  const result = [0];
  for (const count of counts) result.push((result[result.length - 1] as number) + count * bytes);
  return result;
}

function tooMany(peer: number, count: number, capacity: number): CollectivesError {
  return new CollectivesError({
    code: 'collectives/bad-shape',
    message: `expected sendCounts[${peer}] in 0 to ${capacity}, got ${count}`,
    value: count,
    remedy: 'plan a larger capacity for this rank',
  });
}
