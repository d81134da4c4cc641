import type { DispatcherConfig } from './config.js';

/**
 * Where every token of one dispatch goes and where every received row came from; what a cached dispatch replays and a combine
 * reverses. Arrays have room for the worst routing.
 */
export class Route {
  /** Tokens of this rank. */
  tokens = 0;
  /** Rows that this rank received. */
  rows = 0;
  /** Whether counts were exchanged, so that `counts` is filled. */
  counted = false;

  /** Direct: CSR by destination rank. Hierarchical: by destination node. Low latency: by expert. Ascending inside. */
  readonly sendOffsets: Int32Array;
  /** Token numbers, in low latency selections (token * K + slot). */
  readonly sendItems: Int32Array;

  /** Normal modes: [R, R], distinct tokens from rank i to rank j. */
  readonly counts: Int32Array;
  /** Normal modes: [R + 1], first row from each source rank. */
  readonly receiveOffsets: Int32Array;
  /** Rows received from each source: [R]; low latency [E/R, R]. */
  readonly received: Int32Array;
  /** Low latency: [E/R, R], first row of a source inside its expert. */
  readonly begins: Int32Array;
  /** Source token of every row. */
  readonly srcIdx: Int32Array;

  /** Hierarchical: [nodes + 1], first entry of each source node. An entry is a token that this rank forwards inside its node. */
  readonly entryOffsets: Int32Array;
  /** Hierarchical: entries for each local rank, ascending; list of local rank g starts at g * entryCapacity. */
  readonly forwardEntries: Int32Array;
  readonly forwardCounts: Int32Array;
  readonly entryCapacity: number;

  readonly #config: DispatcherConfig;

  constructor(config: DispatcherConfig) {
    this.#config = config;
    const { mode, ranks, nodes, ranksPerNode, topK, maxTokensPerRank, localExperts } = config;
    const lowLatency = mode === 'low-latency';
    const hierarchical = mode === 'hierarchical';
    const destinations = lowLatency ? config.experts : hierarchical ? nodes : ranks;
    const perToken = lowLatency ? topK : Math.min(topK, destinations);
    this.sendOffsets = new Int32Array(destinations + 1);
    this.sendItems = new Int32Array(maxTokensPerRank * perToken);
    this.counts = new Int32Array(lowLatency ? 0 : ranks * ranks);
    this.receiveOffsets = new Int32Array(lowLatency ? 0 : ranks + 1);
    this.received = new Int32Array(lowLatency ? localExperts * ranks : ranks);
    this.begins = new Int32Array(lowLatency ? localExperts * ranks : 0);
    this.srcIdx = new Int32Array(config.maxReceiveTokens);
    this.entryCapacity = hierarchical ? nodes * maxTokensPerRank : 0;
    this.entryOffsets = new Int32Array(hierarchical ? nodes + 1 : 0);
    this.forwardEntries = new Int32Array(this.entryCapacity * ranksPerNode);
    this.forwardCounts = new Int32Array(hierarchical ? ranksPerNode : 0);
  }

  /** A copy that later dispatches do not overwrite. */
  copy(): Route {
    const copy = new Route(this.#config);
    copy.set(this);
    return copy;
  }

  /** Takes over another route of the same dispatcher. */
  set(other: Route): void {
    this.tokens = other.tokens;
    this.rows = other.rows;
    this.counted = other.counted;
    this.sendOffsets.set(other.sendOffsets);
    this.sendItems.set(other.sendItems);
    this.counts.set(other.counts);
    this.receiveOffsets.set(other.receiveOffsets);
    this.received.set(other.received);
    this.begins.set(other.begins);
    this.srcIdx.set(other.srcIdx);
    this.entryOffsets.set(other.entryOffsets);
    this.forwardEntries.set(other.forwardEntries);
    this.forwardCounts.set(other.forwardCounts);
  }
}
