import type { LinkClass, Topology } from './topology.js';

/** Messages and bytes of one link class. */
export interface Traffic {
  readonly messages: number;
  readonly bytes: number;
}

/** What a rank sent and received, by link class. */
export interface TrafficReport {
  readonly sent: Readonly<Record<LinkClass, Traffic>>;
  readonly received: Readonly<Record<LinkClass, Traffic>>;
}

/**
 * Traffic of one rank of one communicator, by peer; counted by the transport as bytes move, payload only
 * (agreements and flags are not traffic). Entry `rank` itself counts local deliveries: what an operation hands to the own rank.
 */
export class TrafficCounters {
  readonly #rank: number;
  readonly #topology: Topology;
  /** [size], by peer; read freely, written by the transport. */
  readonly messagesSent: Float64Array;
  readonly bytesSent: Float64Array;
  readonly messagesReceived: Float64Array;
  readonly bytesReceived: Float64Array;

  constructor(rank: number, topology: Topology) {
    this.#rank = rank;
    this.#topology = topology;
    this.messagesSent = new Float64Array(topology.size);
    this.bytesSent = new Float64Array(topology.size);
    this.messagesReceived = new Float64Array(topology.size);
    this.bytesReceived = new Float64Array(topology.size);
  }

  /** Counts a message to `peer`; called once per transfer by the sender's transport. */
  countSend(peer: number, bytes: number): void {
    (this.messagesSent[peer] as number)++;
    (this.bytesSent[peer] as number) += bytes;
  }

  /** Counts a message from `peer`; called once per transfer by the receiver's transport. */
  countReceive(peer: number, bytes: number): void {
    (this.messagesReceived[peer] as number)++;
    (this.bytesReceived[peer] as number) += bytes;
  }

  /** Counts a local delivery of `bytes` as sent and received; called by the plan executor. */
  countSelf(bytes: number): void {
    this.countSend(this.#rank, bytes);
    this.countReceive(this.#rank, bytes);
  }

  /** Sums by link class. */
  report(): TrafficReport {
    return {
      sent: this.#byLink(this.messagesSent, this.bytesSent),
      received: this.#byLink(this.messagesReceived, this.bytesReceived),
    };
  }

  /** Sets every counter to zero. */
  reset(): void {
    this.messagesSent.fill(0);
    this.bytesSent.fill(0);
    this.messagesReceived.fill(0);
    this.bytesReceived.fill(0);
  }

  #byLink(messages: Float64Array, bytes: Float64Array): Record<LinkClass, Traffic> {
    const sums = {
      self: { messages: 0, bytes: 0 },
      intra: { messages: 0, bytes: 0 },
      inter: { messages: 0, bytes: 0 },
    };
    const { nodeOf, size } = this.#topology;
    for (let peer = 0; peer < size; peer++) {
      const sum =
        peer === this.#rank ? sums.self : nodeOf[peer] === nodeOf[this.#rank] ? sums.intra : sums.inter;
      sum.messages += messages[peer] as number;
      sum.bytes += bytes[peer] as number;
    }
    return sums;
  }
}
