import { SlotList } from './slot-list.js';
import type { StageConfig, StageStats } from './types.js';

/**
 * One pool of blocks with the sequences that hold them.
 *
 * A sequence that holds blocks has a seat; a seat owns one row of the block table. Ownership of a block is
 * being in the row of a seat or on the free stack, never both.
 */
export class Stage implements StageStats {
  readonly index: number;
  readonly role: StageConfig['role'];
  readonly tokenBudget: number;
  readonly maxSequences: number;
  readonly maxStepsInFlight: number;
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
  readonly #freeBlocks: Int32Array;
  #freeBlockCount: number;
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
    this.totalBlocks = blocks;
    this.tableStride = limits.tableStride;
    this.tables = new Int32Array(maxSequences * limits.tableStride);
    this.seatBlocks = new Int32Array(maxSequences);
    this.seatEpochs = new Float64Array(maxSequences);
    this.seatOf = new Int32Array(limits.capacity).fill(-1);
    this.active = new SlotList(limits.capacity);
    this.handover = new SlotList(limits.capacity);
    this.#blockSizeTokens = limits.blockSizeTokens;
    // Stacks are filled so that the lowest ids are taken first.
    this.#freeBlocks = Int32Array.from({ length: blocks }, (_, i) => blocks - 1 - i);
    this.#freeBlockCount = blocks;
    this.#freeSeats = Int32Array.from({ length: maxSequences }, (_, i) => maxSequences - 1 - i);
  }

  get freeBlocks(): number {
    return this.#freeBlockCount;
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
    for (let i = 0; i < count; i++) this.tables[at++] = this.#freeBlocks[--this.#freeBlockCount]!;
    this.seatBlocks[seat]! += count;
    const used = this.totalBlocks - this.#freeBlockCount;
    if (used > this.peakUsedBlocks) this.peakUsedBlocks = used;
  }

  /** Takes seat and blocks back, if the request has any. */
  leave(slot: number): void {
    const seat = this.seatOf[slot]!;
    if (seat < 0) return;
    const row = seat * this.tableStride;
    for (let i = this.seatBlocks[seat]! - 1; i >= 0; i--) {
      this.#freeBlocks[this.#freeBlockCount++] = this.tables[row + i]!;
    }
    this.seatBlocks[seat] = 0;
    this.seatOf[slot] = -1;
    this.#running--;
    this.#freeSeats[this.maxSequences - 1 - this.#running] = seat;
  }
}
