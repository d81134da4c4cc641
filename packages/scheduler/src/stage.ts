import { BlockPool } from './block-pool.js';
import { SlotList } from './slot-list.js';
import type { StageConfig, StageStats } from './types.js';

/** Sequences that a rank may have more than the one with the fewest before what it has cached no longer decides. */
const MAX_LOAD_GAP = 4;

/**
 * The pools of blocks of a stage's ranks with the sequences that hold them.
 *
 * A sequence that holds blocks has a seat; a seat owns one row of the block table. A block is in the row of a seat, or of
 * several that share a cached prefix, or free in the pool.
 */
export class Stage implements StageStats {
  readonly index: number;
  readonly role: StageConfig['role'];
  readonly tokenBudget: number;
  readonly maxSequences: number;
  readonly maxStepsInFlight: number;
  readonly maxChunkTokens: number;
  readonly maxHandover: number;
  /** Steps of this many tokens are split into micro-batches. */
  readonly splitTokens: number;
  readonly splitContextCost: number;
  readonly ranks: number;
  /** Blocks of each rank, and of all of them. */
  readonly rankBlocks: number;
  readonly totalBlocks: number;
  /** Block table of all seats [maxSequences, tableStride]. */
  readonly tables: Int32Array;
  readonly tableStride: number;
  /** Blocks of each seat. */
  readonly seatBlocks: Int32Array;
  /** Changes whenever a seat gets a new sequence: a copy of its row made earlier is stale. */
  readonly seatEpochs: Float64Array;
  /** Seat of each request, -1 = none. */
  readonly seatOf: Int32Array;
  /** Rank of each seated request. */
  readonly rankOf: Int32Array;
  /** Sequences that compute, in order of admission. */
  readonly active: SlotList;
  /** Prefilled sequences that wait for the next stage. */
  readonly handover: SlotList;
  /** Sequences of each rank that a step in flight uses. */
  readonly busy: Int32Array;
  /** The same when the last walk began. */
  readonly busyBefore: Int32Array;
  /** 1 where the last walk ran out of blocks: newcomers must not take what older sequences wait for. */
  readonly starved: Uint8Array;
  /** Of a newcomer, for {@link Stage.chooseRank}: its cached blocks on each rank, -1 where there is no room for it. */
  readonly found: Int32Array;
  stepsInFlight = 0;
  steps = 0;
  busyUs = 0;
  peakUsedBlocks = 0;
  peakRunning = 0;
  #running = 0;
  /** Sequences of each rank. */
  readonly #seated: Int32Array;
  readonly #pools: readonly BlockPool[];
  readonly #freeSeats: Int32Array;
  readonly #blockSizeTokens: number;

  constructor(
    index: number,
    config: StageConfig,
    limits: { capacity: number; blockSizeTokens: number; tableStride: number },
  ) {
    const { blocks, maxSequences, ranks = 1 } = config;
    this.index = index;
    this.role = config.role;
    this.tokenBudget = config.tokenBudget;
    this.maxSequences = maxSequences;
    this.maxStepsInFlight = config.maxStepsInFlight ?? 1;
    this.maxChunkTokens = config.maxChunkTokens ?? config.tokenBudget;
    this.maxHandover = config.maxHandover ?? Number.POSITIVE_INFINITY;
    this.splitTokens = config.microBatches?.minTokens ?? Number.POSITIVE_INFINITY;
    this.splitContextCost = config.microBatches?.contextCost ?? 1 / 512;
    this.ranks = ranks;
    this.rankBlocks = blocks;
    this.totalBlocks = ranks * blocks;
    this.busy = new Int32Array(ranks);
    this.busyBefore = new Int32Array(ranks);
    this.starved = new Uint8Array(ranks);
    this.found = new Int32Array(ranks);
    this.#seated = new Int32Array(ranks);
    this.tableStride = limits.tableStride;
    this.tables = new Int32Array(maxSequences * limits.tableStride);
    this.seatBlocks = new Int32Array(maxSequences);
    this.seatEpochs = new Float64Array(maxSequences);
    this.seatOf = new Int32Array(limits.capacity).fill(-1);
    this.rankOf = new Int32Array(limits.capacity);
    this.active = new SlotList(limits.capacity);
    this.handover = new SlotList(limits.capacity);
    this.#blockSizeTokens = limits.blockSizeTokens;
    this.#pools = Array.from({ length: ranks }, () => new BlockPool(blocks, config.prefixCache === true));
    // Filled so that the lowest ids are taken first.
    this.#freeSeats = Int32Array.from({ length: maxSequences }, (_, i) => maxSequences - 1 - i);
  }

  get freeBlocks(): number {
    let free = 0;
    for (let rank = 0; rank < this.ranks; rank++) free += this.#pools[rank]!.free;
    return free;
  }

  /** Free blocks of one rank. */
  freeOn(rank: number): number {
    return this.#pools[rank]!.free;
  }

  get cachedBlocks(): number {
    return this.#pools.reduce((sum, pool) => sum + pool.idle, 0);
  }

  get evictedBlocks(): number {
    return this.#pools.reduce((sum, pool) => sum + pool.evictions, 0);
  }

  get handoverWaiting(): number {
    return this.handover.size;
  }

  get running(): number {
    return this.#running;
  }

  get hasSeat(): boolean {
    return this.#running < this.maxSequences;
  }

  /** Blocks that `tokens` tokens occupy. */
  blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.#blockSizeTokens);
  }

  /** Blocks that the request lacks to hold `tokens` tokens. */
  lacking(slot: number, tokens: number): number {
    const seat = this.seatOf[slot]!;
    const owned = seat < 0 ? 0 : this.seatBlocks[seat]!;
    return Math.max(0, this.blocksFor(tokens) - owned);
  }

  /** Before the sequences of a step are chosen. */
  beginWalk(): void {
    this.starved.fill(0);
    this.busyBefore.set(this.busy);
  }

  /** Gives the request a seat on a rank, without blocks. There must be one: see {@link Stage.hasSeat}. */
  sit(slot: number, rank: number): void {
    const seat = this.#freeSeats[this.maxSequences - 1 - this.#running]!;
    this.#running++;
    this.#seated[rank]! += 1;
    if (this.#running > this.peakRunning) this.peakRunning = this.#running;
    this.rankOf[slot] = rank;
    this.seatOf[slot] = seat;
    this.seatBlocks[seat] = 0;
    this.seatEpochs[seat]! += 1;
  }

  /** Gives the seated request the `count` further blocks that it lacks; its rank must have them free. */
  grow(slot: number, count: number): void {
    const seat = this.seatOf[slot]!;
    const pool = this.#pools[this.rankOf[slot]!]!;
    let at = seat * this.tableStride + this.seatBlocks[seat]!;
    for (let i = 0; i < count; i++) this.tables[at++] = pool.take();
    this.seatBlocks[seat]! += count;
    const used = this.totalBlocks - this.freeBlocks;
    if (used > this.peakUsedBlocks) this.peakUsedBlocks = used;
  }

  /**
   * The rank for a newcomer, by {@link Stage.found}: of those with room the one that has most of its prefix cached, unless it has many more sequences than
   * the one with the fewest; else that one. -1 where no rank has room.
   */
  chooseRank(): number {
    const { found, ranks } = this;
    const seated = this.#seated;
    let fewest = Number.POSITIVE_INFINITY;
    for (let rank = 0; rank < ranks; rank++) {
      if (found[rank]! >= 0 && seated[rank]! < fewest) fewest = seated[rank]!;
    }
    let best = -1;
    for (let rank = 0; rank < ranks; rank++) {
      if (found[rank]! < 0 || seated[rank]! > fewest + MAX_LOAD_GAP) continue;
      const more = best < 0 ? 1 : found[rank]! - found[best]!;
      if (more > 0 || (more === 0 && seated[rank]! < seated[best]!)) best = rank;
    }
    return best;
  }

  /** Blocks of a request's first `most` prefixes that a rank has cached; {@link Stage.idleFound} says how many of them count as free. */
  findPrefix(rank: number, prefix: Float64Array, most: number): number {
    return this.#pools[rank]!.find(prefix, most);
  }

  idleFound(rank: number): number {
    return this.#pools[rank]!.foundIdle;
  }

  /** Gives the newly seated request the first `count` blocks of its prefix, all of them found just now. */
  adopt(slot: number, prefix: Float64Array, count: number): void {
    const seat = this.seatOf[slot]!;
    const pool = this.#pools[this.rankOf[slot]!]!;
    const row = seat * this.tableStride;
    for (let i = 0; i < count; i++) this.tables[row + i] = pool.hold(prefix[i]!);
    this.seatBlocks[seat] = count;
  }

  /** Makes the blocks from `from` to `to` of a request known for its prefix. */
  remember(slot: number, prefix: Float64Array, from: number, to: number): void {
    const pool = this.#pools[this.rankOf[slot]!]!;
    const row = this.seatOf[slot]! * this.tableStride;
    for (let i = from; i < to; i++) pool.remember(this.tables[row + i]!, prefix[i]!);
  }

  /** Takes the blocks of a request, if it has any here, for no prefix any more. */
  distrust(slot: number): void {
    const seat = this.seatOf[slot]!;
    if (seat < 0) return;
    const pool = this.#pools[this.rankOf[slot]!]!;
    const row = seat * this.tableStride;
    for (let i = 0; i < this.seatBlocks[seat]!; i++) pool.distrust(this.tables[row + i]!);
  }

  /** Forgets all cached prefixes. */
  clearPrefixes(): void {
    for (const pool of this.#pools) pool.clear();
  }

  /** Takes seat and blocks back, if the request has any. */
  leave(slot: number): void {
    const seat = this.seatOf[slot]!;
    if (seat < 0) return;
    const rank = this.rankOf[slot]!;
    const pool = this.#pools[rank]!;
    const row = seat * this.tableStride;
    // From the last to the first, so that of a cached prefix the end is given up before the beginning.
    for (let i = this.seatBlocks[seat]! - 1; i >= 0; i--) pool.give(this.tables[row + i]!);
    this.seatBlocks[seat] = 0;
    this.seatOf[slot] = -1;
    this.#running--;
    this.#seated[rank]! -= 1;
    this.#freeSeats[this.maxSequences - 1 - this.#running] = seat;
  }
}
