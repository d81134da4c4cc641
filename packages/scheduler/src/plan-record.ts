import { splitStep } from './micro-batches.js';
import type { RequestTable } from './request-table.js';
import type { Stage } from './stage.js';
import type { StepPlan } from './types.js';

const NONE: Int32Array = new Int32Array(0);

/** A {@link StepPlan} that is filled again and again. */
export class PlanRecord implements StepPlan {
  readonly stage: number;
  readonly kind: 'compute' | 'transfer';
  readonly sourceStage: number;
  readonly requestIds: Int32Array;
  readonly tokenCounts: Int32Array;
  readonly contextStarts: Int32Array;
  readonly samples: Uint8Array;
  readonly ranks: Int32Array;
  readonly sourceRanks: Int32Array;
  readonly blockTables: Int32Array;
  readonly blockTableStride: number;
  readonly sourceBlockTables: Int32Array;
  readonly blockCounts: Int32Array;
  stepId = -1;
  sequences = 0;
  decodeSequences = 0;
  prefillTokens = 0;
  fusedSteps = 1;
  microBatches = 1;
  readonly microBatchOf: Uint8Array;
  startedUs = 0;
  /** Rows in the order of admission of their sequences. */
  readonly order: Int32Array;
  /** Sequences and their tokens in that order, until `settle` gives them rows. */
  readonly #slots: Int32Array;
  readonly #tokens: Int32Array;
  readonly #rowTaken: Uint8Array;
  /** What each row of `blockTables` holds already: whose seat, since when, and how many blocks of it. */
  readonly #rowSeats: Int32Array;
  readonly #rowEpochs: Float64Array;
  readonly #rowBlocks: Int32Array;
  /** The row that each seat had last, which may be another's by now. */
  readonly #seatRows: Int32Array;

  constructor(stage: Stage, source: Stage | undefined) {
    const rows = stage.maxSequences;
    const stride = stage.tableStride;
    this.stage = stage.index;
    this.kind = source === undefined ? 'compute' : 'transfer';
    this.sourceStage = source === undefined ? -1 : source.index;
    this.requestIds = new Int32Array(rows);
    this.tokenCounts = new Int32Array(rows);
    this.contextStarts = new Int32Array(rows);
    this.samples = new Uint8Array(rows);
    this.ranks = new Int32Array(rows);
    this.sourceRanks = source === undefined ? NONE : new Int32Array(rows);
    this.blockTables = new Int32Array(rows * stride);
    this.blockTableStride = stride;
    this.sourceBlockTables = source === undefined ? NONE : new Int32Array(rows * stride);
    this.blockCounts = new Int32Array(rows);
    this.microBatchOf = new Uint8Array(rows);
    this.order = new Int32Array(rows);
    this.#slots = new Int32Array(rows);
    this.#tokens = new Int32Array(rows);
    this.#rowTaken = new Uint8Array(rows);
    this.#seatRows = new Int32Array(rows).fill(-1);
    this.#rowSeats = new Int32Array(rows).fill(-1);
    this.#rowEpochs = new Float64Array(rows);
    this.#rowBlocks = new Int32Array(rows);
  }

  clear(): void {
    this.sequences = 0;
    this.decodeSequences = 0;
    this.prefillTokens = 0;
    this.fusedSteps = 1;
    this.microBatches = 1;
  }

  /** Adds a sequence to a compute plan; its row is filled by {@link PlanRecord.settle}. */
  addCompute(slot: number, tokens: number): void {
    this.#slots[this.sequences] = slot;
    this.#tokens[this.sequences] = tokens;
    this.sequences++;
  }

  /**
   * Fills the rows of a compute plan; all blocks must be in place.
   *
   * A sequence keeps the row it had when this record was last used, and others fill the gaps. So a departure does not
   * shift the rows behind it, only new blocks are copied, and the cost of a step does not grow with the context.
   */
  settle(stage: Stage, requests: RequestTable): void {
    const { sequences, order } = this;
    this.#rowTaken.fill(0, 0, sequences);
    for (let i = 0; i < sequences; i++) {
      const seat = stage.seatOf[this.#slots[i]!]!;
      const row = this.#seatRows[seat]!;
      const kept = row >= 0 && row < sequences && this.#holds(row, seat, stage.seatEpochs[seat]!);
      order[i] = kept ? row : -1;
      if (kept) this.#rowTaken[row] = 1;
    }
    let gap = 0;
    for (let i = 0; i < sequences; i++) {
      if (order[i]! < 0) {
        while (this.#rowTaken[gap] === 1) gap++;
        order[i] = gap++;
      }
      const row = order[i]!;
      const slot = this.#slots[i]!;
      const tokens = this.#tokens[i]!;
      const computed = requests.computed[slot]!;
      this.requestIds[row] = slot;
      this.tokenCounts[row] = tokens;
      this.contextStarts[row] = computed;
      this.ranks[row] = stage.rankOf[slot]!;
      this.samples[row] = computed + tokens === requests.known(slot) ? 1 : 0;
      this.blockCounts[row] = this.#copyTable(row, stage, stage.seatOf[slot]!);
    }
    splitStep(this, stage);
  }

  /** Takes over blocks that the sequences of a compute plan got since they were added. */
  refreshTables(stage: Stage): void {
    for (let row = 0; row < this.sequences; row++) {
      this.blockCounts[row] = this.#copyTable(row, stage, stage.seatOf[this.requestIds[row]!]!);
    }
  }

  /** Adds a sequence of `contextStart` computed tokens to a transfer plan. */
  addTransfer(slot: number, source: Stage, target: Stage, contextStart: number): void {
    const row = this.sequences++;
    this.order[row] = row;
    this.requestIds[row] = slot;
    this.tokenCounts[row] = 0;
    this.contextStarts[row] = contextStart;
    this.samples[row] = 0;
    this.ranks[row] = target.rankOf[slot]!;
    this.sourceRanks[row] = source.rankOf[slot]!;
    const count = source.blocksFor(contextStart);
    this.blockCounts[row] = count;
    const from = source.seatOf[slot]! * source.tableStride;
    const to = target.seatOf[slot]! * target.tableStride;
    const at = row * this.blockTableStride;
    for (let i = 0; i < count; i++) {
      this.sourceBlockTables[at + i] = source.tables[from + i]!;
      this.blockTables[at + i] = target.tables[to + i]!;
    }
  }

  #holds(row: number, seat: number, epoch: number): boolean {
    return this.#rowSeats[row] === seat && this.#rowEpochs[row] === epoch;
  }

  /** Brings a row of the block table up to date and returns its length. */
  #copyTable(row: number, stage: Stage, seat: number): number {
    const count = stage.seatBlocks[seat]!;
    const epoch = stage.seatEpochs[seat]!;
    const from = seat * stage.tableStride;
    const at = row * this.blockTableStride;
    for (let i = this.#holds(row, seat, epoch) ? this.#rowBlocks[row]! : 0; i < count; i++) {
      this.blockTables[at + i] = stage.tables[from + i]!;
    }
    this.#rowSeats[row] = seat;
    this.#rowEpochs[row] = epoch;
    this.#rowBlocks[row] = count;
    this.#seatRows[seat] = row;
    return count;
  }
}

/** Plans of one kind for one stage, handed out and taken back. */
export class PlanPool {
  readonly #stage: Stage;
  readonly #source: Stage | undefined;
  readonly #idle: PlanRecord[] = [];

  constructor(stage: Stage, source?: Stage) {
    this.#stage = stage;
    this.#source = source;
  }

  take(): PlanRecord {
    const plan = this.#idle.pop() ?? new PlanRecord(this.#stage, this.#source);
    plan.clear();
    return plan;
  }

  give(plan: PlanRecord): void {
    this.#idle.push(plan);
  }
}
