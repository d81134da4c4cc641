import { AdmissionQueue } from './admission-queue.js';
import { Ending, Phase, RequestTable } from './request-table.js';
import { Stage } from './stage.js';
import type { SchedulerConfig, SchedulerStats } from './types.js';

/** Everything a {@link Scheduler} knows, and the moves that requests can make between its places. */
export class SchedulerState implements SchedulerStats {
  readonly blockSizeTokens: number;
  readonly requests: RequestTable;
  readonly queue: AdmissionQueue;
  readonly stages: readonly Stage[];
  /** Where requests are admitted. */
  readonly entry: Stage;
  /** Where requests decode; the entry itself when there is one stage. */
  readonly last: Stage;
  submitted = 0;
  admitted = 0;
  queuedUs = 0;
  finished = 0;
  cancelled = 0;
  preemptions = 0;
  requeued = 0;
  generatedTokens = 0;
  lookedUpTokens = 0;
  cachedTokens = 0;
  /** Some request had a priority of its own, so that victims must be looked for. */
  hasPriorities = false;
  prefillTokens = 0;
  decodeTokens = 0;
  transfers = 0;
  transferredBlocks = 0;

  constructor(config: SchedulerConfig) {
    const { blockSizeTokens, maxWaiting, maxContextTokens, stages } = config;
    // A request waits or has a seat. Waiting ones are bounded when one is submitted; preemption only moves requests.
    const capacity = stages.reduce((sum, stage) => sum + stage.maxSequences, maxWaiting);
    const tableStride = Math.min(
      Math.ceil(maxContextTokens / blockSizeTokens),
      Math.max(...stages.map((stage) => stage.blocks)),
    );
    this.blockSizeTokens = blockSizeTokens;
    this.requests = new RequestTable(capacity);
    this.queue = new AdmissionQueue(capacity, config.fairness);
    this.stages = stages.map(
      (stage, index) => new Stage(index, stage, { capacity, blockSizeTokens, tableStride }),
    );
    this.entry = this.stages.find((stage) => stage.role !== 'decode')!;
    this.last = this.stages.find((stage) => stage.role !== 'prefill')!;
  }

  get waiting(): number {
    return this.queue.size;
  }

  get active(): number {
    return this.requests.used;
  }

  /** Blocks of the request's prefix that a rank of the entry stage has; one token at least is left to compute. */
  findPrefix(slot: number, rank: number): number {
    const { requests, entry } = this;
    const prefix = requests.prefix[slot]!;
    if (prefix.length === 0) return 0;
    const whole = Math.floor((requests.known(slot) - 1) / this.blockSizeTokens);
    return entry.findPrefix(rank, prefix, Math.min(prefix.length, whole));
  }

  /** Moves the waiting request, with the cached blocks found for it on a rank of the entry stage, to the end of its walk order. */
  admit(slot: number, rank: number, cachedBlocks: number, nowUs: number): void {
    const { requests, entry } = this;
    this.queue.remove(slot);
    entry.sit(slot, rank);
    entry.active.append(slot);
    requests.phase[slot] = Phase.active;
    requests.stage[slot] = entry.index;
    const prefix = requests.prefix[slot]!;
    const cached = cachedBlocks * this.blockSizeTokens;
    if (prefix.length > 0) {
      entry.adopt(slot, prefix, cachedBlocks);
      requests.computed[slot] = cached;
      this.lookedUpTokens += requests.promptTokens[slot]!;
      this.cachedTokens += cached;
    }
    if (requests.admitted[slot] === 0) {
      requests.admitted[slot] = 1;
      requests.cached[slot] = cached;
      // Charged at once, so that no tenant is admitted again and again before its first step counts.
      this.queue.chargePrompt(requests.tenant[slot]!, requests.promptTokens[slot]! - cached);
      this.admitted++;
      this.queuedUs += nowUs - requests.arrivalUs[slot]!;
    }
  }

  /** Takes the blocks of an active request for an older one; it will be computed again over all its known tokens. */
  preempt(slot: number): void {
    this.#toFront(slot);
    this.requests.preemptions[slot]! += 1;
    this.preemptions++;
  }

  /** Puts a request of a lost step back; it will be computed again over all its known tokens. */
  requeue(slot: number): void {
    for (let s = 0; s < this.stages.length; s++) this.stages[s]!.distrust(slot);
    this.#toFront(slot);
    this.requeued++;
  }

  /** Moves a prefilled request behind the others that wait for a transfer. */
  offer(slot: number): void {
    this.entry.active.remove(slot);
    this.entry.handover.append(slot);
    this.requests.phase[slot] = Phase.handover;
  }

  /** Begins the move of an offered request to a rank of the last stage, where it takes a seat and blocks for its next token. */
  beginTransfer(slot: number, rank: number, blocks: number): void {
    this.entry.handover.remove(slot);
    this.last.sit(slot, rank);
    this.last.grow(slot, blocks);
    this.requests.phase[slot] = Phase.transfer;
    this.requests.stage[slot] = this.last.index;
  }

  /** The bytes have arrived: the source's blocks are free and the request decodes. */
  endTransfer(slot: number): void {
    this.transferredBlocks += this.entry.blocksFor(this.requests.computed[slot]!);
    this.entry.leave(slot);
    this.last.active.append(slot);
    this.requests.phase[slot] = Phase.active;
  }

  /** Forgets a request that no step uses, wherever it stands. */
  forget(slot: number): void {
    this.#leavePlace(slot);
    this.requests.give(slot);
  }

  /** Ends a request now, or marks it to be forgotten when its step completes. */
  end(slot: number, ending: typeof Ending.cancelled | typeof Ending.finished): void {
    if (ending === Ending.cancelled) this.cancelled++;
    else this.finished++;
    if (this.requests.inStep[slot] === 1) this.requests.ending[slot] = ending;
    else this.forget(slot);
  }

  #toFront(slot: number): void {
    this.#leavePlace(slot);
    this.requests.computed[slot] = 0;
    this.requests.phase[slot] = Phase.waiting;
    this.queue.pushFront(slot, this.requests.priority[slot]!, this.requests.known(slot));
  }

  #leavePlace(slot: number): void {
    const { requests, stages } = this;
    const phase = requests.phase[slot];
    if (phase === Phase.waiting) this.queue.remove(slot);
    else if (phase === Phase.active) stages[requests.stage[slot]!]!.active.remove(slot);
    else if (phase === Phase.handover) this.entry.handover.remove(slot);
    for (let s = 0; s < stages.length; s++) stages[s]!.leave(slot);
  }
}
