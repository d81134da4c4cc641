import { BlockPool } from './block-pool.js';
import { SlotList } from './slot-list.js';
import type { StageConfig, StageStats } from './types.js';

/**
 * One pool of blocks with the sequences that hold them.
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
  /** Sequences that compute, in order of admission. */
  readonly active: SlotList;
  /** Prefilled sequences that wait for the next stage. */
  readonly handover: SlotList;
  /** Sequences of this stage that a step in flight uses. */
  busy = 0;
  /** The last walk ran out of blocks: newcomers must not take what older sequences wait for. */
  starved = false;
  stepsInFlight = 0;
  steps = 0;
  busyUs = 0;
  peakUsedBlocks = 0;
  peakRunning = 0;
  #running = 0;
  readonly #pool: BlockPool;
  readonly #freeSeats: Int32Array;
  readonly #blockSizeTokens: number;

  constructor(
    index: number,
    config: StageConfig,
    limits: { capacity: number; blockSizeTokens: number; tableStride: number },
  ) {
    const { blocks, maxSequences } = config;
    this.index = index;
    this.role = config.role;
    this.tokenBudget = config.tokenBudget;
    this.maxSequences = maxSequences;
    this.maxStepsInFlight = config.maxStepsInFlight ?? 1;
    this.maxChunkTokens = config.maxChunkTokens ?? config.tokenBudget;
    this.maxHandover = config.maxHandover ?? Number.POSITIVE_INFINITY;
    this.splitTokens = config.microBatches?.minTokens ?? Number.POSITIVE_INFINITY;
    this.splitContextCost = config.microBatches?.contextCost ?? 1 / 512;
    this.totalBlocks = blocks;
    this.tableStride = limits.tableStride;
    this.tables = new Int32Array(maxSequences * limits.tableStride);
    this.seatBlocks = new Int32Array(maxSequences);
    this.seatEpochs = new Float64Array(maxSequences);
    this.seatOf = new Int32Array(limits.capacity).fill(-1);
    this.active = new SlotList(limits.capacity);
    this.handover = new SlotList(limits.capacity);
    this.#blockSizeTokens = limits.blockSizeTokens;
    this.#pool = new BlockPool(blocks, config.prefixCache === true);
    // Filled so that the lowest ids are taken first.
    this.#freeSeats = Int32Array.from({ length: maxSequences }, (_, i) => maxSequences - 1 - i);
  }

  get freeBlocks(): number {
    return this.#pool.free;
  }

  get cachedBlocks(): number {
    return this.#pool.idle;
  }

  get evictedBlocks(): number {
    return this.#pool.evictions;
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

  /** Gives the request a seat without blocks. There must be one: see {@link Stage.hasSeat}. */
  sit(slot: number): void {
    const seat = this.#freeSeats[this.maxSequences - 1 - this.#running]!;
    this.#running++;
    if (this.#running > this.peakRunning) this.peakRunning = this.#running;
    this.seatOf[slot] = seat;
    this.seatBlocks[seat] = 0;
    this.seatEpochs[seat]! += 1;
  }

  /** Gives the seated request the `count` further blocks that it lacks; they must be free. */
  grow(slot: number, count: number): void {
    const seat = this.seatOf[slot]!;
    let at = seat * this.tableStride + this.seatBlocks[seat]!;
    for (let i = 0; i < count; i++) this.tables[at++] = this.#pool.take();
    this.seatBlocks[seat]! += count;
    const used = this.totalBlocks - this.#pool.free;
    if (used > this.peakUsedBlocks) this.peakUsedBlocks = used;
  }

  /** Blocks of a request's first `most` prefixes that are cached; {@link Stage.idleFound} says how many count as free. */
  findPrefix(prefix: Float64Array, most: number): number {
    return this.#pool.find(prefix, most);
  }

  get idleFound(): number {
    return this.#pool.foundIdle;
  }

  /** Gives the newly seated request the first `count` blocks of its prefix, all of them found just now. */
  adopt(slot: number, prefix: Float64Array, count: number): void {
    const seat = this.seatOf[slot]!;
    const row = seat * this.tableStride;
    for (let i = 0; i < count; i++) this.tables[row + i] = this.#pool.hold(prefix[i]!);
    this.seatBlocks[seat] = count;
  }

  /** Makes the blocks from `from` to `to` of a request known for its prefix. */
  remember(slot: number, prefix: Float64Array, from: number, to: number): void {
    const row = this.seatOf[slot]! * this.tableStride;
    for (let i = from; i < to; i++) this.#pool.remember(this.tables[row + i]!, prefix[i]!);
  }

  /** Takes the blocks of a request, if it has any here, for no prefix any more. */
  distrust(slot: number): void {
    const seat = this.seatOf[slot]!;
    if (seat < 0) return;
    const row = seat * this.tableStride;
    for (let i = 0; i < this.seatBlocks[seat]!; i++) this.#pool.distrust(this.tables[row + i]!);
  }

  /** Forgets all cached prefixes. */
  clearPrefixes(): void {
    this.#pool.clear();
  }

  /** Takes seat and blocks back, if the request has any. */
  leave(slot: number): void {
    const seat = this.seatOf[slot]!;
    if (seat < 0) return;
    const row = seat * this.tableStride;
    // From the last to the first, so that of a cached prefix the end is given up before the beginning.
    for (let i = this.seatBlocks[seat]! - 1; i >= 0; i--) this.#pool.give(this.tables[row + i]!);
    this.seatBlocks[seat] = 0;
    this.seatOf[slot] = -1;
    this.#running--;
    this.#freeSeats[this.maxSequences - 1 - this.#running] = seat;
  }
}
