import { Scheduler, type StepOutcomes, type StepPlan } from '@moestack/scheduler';
import type { RequestPool } from './request-pool.js';

/** Where a rank stands in a deployment. */
export type RankRole = 'prefill' | 'decode' | 'mixed';

/** Limits of one data-parallel rank. */
export interface RankLimits {
  readonly kvTokens: number;
  readonly blockSizeTokens: number;
  readonly tokenBudget: number;
  readonly maxSequences: number;
  readonly maxWaiting: number;
  readonly maxContextTokens: number;
}

/** A transfer under way, or a recomputation that stands in its place. */
export interface Delivery {
  readonly plan: StepPlan;
  readonly endUs: number;
}

/** Requests that a decoding rank takes over at a time. */
const ARRIVING_SEQUENCES = 64;

/**
 * One data-parallel rank: its scheduler and what the simulation must know of its requests.
 *
 * A decoding rank's scheduler has a prefill stage as well. Requests enter there with their KV computed elsewhere, so its steps take no time; only requests that
 * lost their blocks are really computed again.
 */
export class Rank {
  readonly scheduler: Scheduler;
  readonly role: RankRole;
  /** Slot in the pool of each scheduler id. */
  readonly slotOf: Int32Array;
  /** Prompt tokens that the scheduler knows of each scheduler id. */
  readonly promptOf: Int32Array;
  /** Tokens of each scheduler id whose KV is computed once it has its last token. */
  readonly limitOf: Int32Array;
  readonly outcomes: StepOutcomes;
  /** The compute step that runs. */
  running: StepPlan | undefined;
  /** Steps that `running` has stood for so far, and those after which something changes. */
  elapsed = 0;
  due = 0;
  /** Whether `running` is fused to `due` steps. */
  settled = false;
  /** Steps of `running` until its first sequence ends. */
  fewestLeft = 0;
  /** Tokens that the next decode step attends to. */
  context = 0;
  /** Tokens before those that the running step prefills, and its prefilling sequences. */
  prefillContext = 0;
  prefillSequences = 0;
  /** The compute step that runs next, if it is planned already. */
  next: StepPlan | undefined;
  readonly #maxWaiting: number;
  readonly deliveries: Delivery[] = [];
  /** When the network card has sent what it was asked to. */
  linkFreeUs = 0;
  /** Requests of this rank that are not finished. */
  sequences = 0;
  /** Prompt tokens of those requests. */
  outstandingTokens = 0;

  constructor(role: RankRole, limits: RankLimits) {
    const { blockSizeTokens, kvTokens, tokenBudget, maxSequences, maxWaiting, maxContextTokens } = limits;
    const blocks = Math.max(1, Math.floor(kvTokens / blockSizeTokens));
    const stage = { blocks, tokenBudget, maxSequences };
    const arriving = {
      blocks: Math.min(1 << 20, ARRIVING_SEQUENCES * Math.ceil(maxContextTokens / blockSizeTokens)),
      tokenBudget: 1 << 30,
      maxSequences: ARRIVING_SEQUENCES,
    };
    this.role = role;
    this.#maxWaiting = maxWaiting;
    this.scheduler = new Scheduler({
      blockSizeTokens,
      maxWaiting,
      maxContextTokens,
      stages:
        role === 'decode'
          ? [
              { name: 'arriving', role: 'prefill', ...arriving },
              { name: 'decode', role: 'decode', ...stage },
            ]
          : [{ name: role, role: 'mixed', ...stage }],
    });
    const { capacity } = this.scheduler;
    this.slotOf = new Int32Array(capacity);
    this.promptOf = new Int32Array(capacity);
    this.limitOf = new Int32Array(capacity);
    const rows = Math.max(maxSequences, ARRIVING_SEQUENCES);
    this.outcomes = { tokens: new Int32Array(rows), finished: new Uint8Array(rows) };
  }

  /** Queues a request of the pool; false if the queue is full. What can never fit throws. */
  submit(slot: number, pool: RequestPool, nowUs: number): boolean {
    if (this.scheduler.stats.waiting >= this.#maxWaiting) return false;
    const prefill = this.role === 'prefill';
    const whole = pool.inputTokens[slot]!;
    const promptTokens = this.role === 'decode' ? whole : whole - pool.cachedTokens[slot]!;
    const maxNewTokens = prefill ? 1 : pool.outputTokens[slot]!;
    const id = this.scheduler.submit({ promptTokens, maxNewTokens, arrivalUs: nowUs });
    this.slotOf[id] = slot;
    this.promptOf[id] = promptTokens;
    this.limitOf[id] = promptTokens + maxNewTokens - 1;
    this.sequences++;
    this.outstandingTokens += promptTokens;
    return true;
  }

  /** Takes a request off the books when it has left. */
  release(id: number): void {
    this.sequences--;
    this.outstandingTokens -= this.promptOf[id]!;
  }
}
