import type { Scheduler, StepPlan } from '../src/index.js';

interface Tracked {
  uid: number;
  promptTokens: number;
  maxNewTokens: number;
  generated: number;
  /** Prompts of one family begin alike; -1 = the prompt is like no other. */
  family: number;
  ending: boolean;
}

/** What a request has beyond its lengths. */
export interface Kind {
  priority?: number;
  tenant?: number;
  family?: number;
}

/**
 * An engine whose KV cache holds, for every position, which request (or family of prompts) and which token wrote it. It refuses a plan whose
 * blocks do not hold exactly what the plan says is computed, and so sees every lost, repeated or misplaced token and
 * every block that is written while another sequence holds it.
 */
export class PagedEngine {
  readonly inFlight: StepPlan[] = [];
  readonly live: Map<number, Tracked> = new Map();
  completedRequests = 0;
  readonly #scheduler: Scheduler;
  readonly #blockSize: number;
  /** Per stage: what each place of each rank holds, as `request:position`. */
  readonly #caches: Map<string, string>[];
  #nextUid = 0;

  constructor(scheduler: Scheduler, blockSize: number, stages: number) {
    this.#scheduler = scheduler;
    this.#blockSize = blockSize;
    this.#caches = Array.from({ length: stages }, () => new Map());
  }

  submit(promptTokens: number, maxNewTokens: number, kind: Kind = {}): void {
    const { priority = 0, tenant = 0, family = -1 } = kind;
    const blocks = Math.floor(promptTokens / this.#blockSize);
    const prefix = Float64Array.from({ length: blocks }, (_, block) => family * 1000 + block);
    const id = this.#scheduler.submit({
      promptTokens,
      maxNewTokens,
      arrivalUs: 0,
      priority,
      tenant,
      ...(family >= 0 && { prefix }),
    });
    const uses = this.inFlight.some((plan) => this.#rowOf(plan, id) >= 0);
    if (this.live.has(id) || uses) throw new Error(`id ${id} is given out twice`);
    this.live.set(id, {
      uid: this.#nextUid++,
      promptTokens,
      maxNewTokens,
      generated: 0,
      family,
      ending: false,
    });
  }

  /** Ends a request from outside, by `cancel` or `finish`. */
  end(id: number, how: 'cancel' | 'finish'): void {
    const tracked = this.live.get(id)!;
    if (!this.#scheduler[how](id)) throw new Error(`request ${id} should have been live`);
    if (this.#scheduler.stateOf(id) !== 'gone') throw new Error(`request ${id} should be gone`);
    tracked.ending = true;
    if (!this.inFlight.some((plan) => this.#rowOf(plan, id) >= 0)) this.live.delete(id);
  }

  /** Takes all plans that can start now, checking each against the cache. */
  schedule(): void {
    for (let plan = this.#scheduler.schedule(0); plan !== undefined; plan = this.#scheduler.schedule(0)) {
      this.#checkExclusive(plan);
      for (let row = 0; row < plan.sequences; row++) this.#checkContext(plan, row);
      this.inFlight.push(plan);
    }
  }

  /** Runs and reports a plan. `fate` of a row: it works, it ends the text, or it is lost. */
  complete(plan: StepPlan, fate: (row: number) => 'works' | 'ends' | 'fails'): void {
    const tokens = new Int32Array(plan.sequences).fill(-1);
    const finished = new Uint8Array(plan.sequences);
    const failed = new Uint8Array(plan.sequences);
    for (let row = 0; row < plan.sequences; row++) {
      const id = plan.requestIds[row]!;
      const tracked = this.live.get(id)!;
      const outcome = fate(row);
      if (outcome === 'fails') failed[row] = 1;
      else {
        this.#checkContext(plan, row);
        this.#write(plan, row, tracked);
        if (plan.samples[row] === 1) {
          tokens[row] = tracked.generated;
          finished[row] = outcome === 'ends' ? 1 : 0;
          if (!tracked.ending) {
            tracked.generated++;
            tracked.ending = outcome === 'ends' || tracked.generated === tracked.maxNewTokens;
            if (tracked.ending) this.completedRequests++;
          }
        }
      }
      if (tracked.ending) this.live.delete(id);
    }
    this.inFlight.splice(this.inFlight.indexOf(plan), 1);
    this.#scheduler.complete(plan.stepId, { tokens, finished, failed }, 0);
  }

  /** Loses a plan. */
  fail(plan: StepPlan): void {
    for (let row = 0; row < plan.sequences; row++) {
      const id = plan.requestIds[row]!;
      if (this.live.get(id)!.ending) this.live.delete(id);
    }
    this.inFlight.splice(this.inFlight.indexOf(plan), 1);
    this.#scheduler.fail(plan.stepId, 0);
  }

  /** What scheduler and engine must agree on at any time. */
  checkAgreement(): void {
    const { active, stages } = this.#scheduler.stats;
    if (active !== this.live.size) throw new Error(`expected ${this.live.size} requests, got ${active}`);
    for (const [id, tracked] of this.live) {
      if (!tracked.ending && this.#scheduler.generatedTokensOf(id) !== tracked.generated) {
        throw new Error(`request ${id} lost or repeated a token`);
      }
    }
    stages.forEach((stage, index) => {
      const used = this.#blocksInFlight(index).size;
      if (used > stage.totalBlocks - stage.freeBlocks) throw new Error('a block in flight is free');
      if (active === 0 && stage.freeBlocks !== stage.totalBlocks) throw new Error('blocks leaked');
      if (active === 0 && stage.running !== 0) throw new Error('seats leaked');
    });
  }

  #rowOf(plan: StepPlan, id: number): number {
    return plan.requestIds.subarray(0, plan.sequences).indexOf(id);
  }

  #checkExclusive(plan: StepPlan): void {
    for (const other of this.inFlight) {
      for (let row = 0; row < plan.sequences; row++) {
        if (this.#rowOf(other, plan.requestIds[row]!) >= 0) throw new Error('a sequence is in two steps');
      }
    }
    const { read, written } = this.#blocksOf(this.inFlight, plan.stage);
    for (let row = 0; row < plan.sequences; row++) {
      const own = this.#blocksOf([plan], plan.stage, row);
      for (const block of own.written) {
        if (written.has(block) || read.has(block))
          throw new Error(`block ${block} is written by two sequences`);
      }
      for (const block of own.read) {
        if (written.has(block)) throw new Error(`block ${block} is written while it is read`);
      }
      for (const block of own.written) written.add(block);
      for (const block of own.read) read.add(block);
    }
  }

  /** Blocks of one stage that plans read only, and those that they write into. */
  #blocksOf(
    plans: readonly StepPlan[],
    stage: number,
    onlyRow?: number,
  ): { read: Set<string>; written: Set<string> } {
    const read = new Set<string>();
    const written = new Set<string>();
    for (const plan of plans) {
      for (let row = onlyRow ?? 0; row < (onlyRow === undefined ? plan.sequences : onlyRow + 1); row++) {
        // A transfer writes all that it imports; a step writes from its first new token on.
        const first = plan.kind === 'transfer' ? 0 : Math.floor(plan.contextStarts[row]! / this.#blockSize);
        for (let i = 0; i < plan.blockCounts[row]!; i++) {
          const at = row * plan.blockTableStride + i;
          if (plan.stage === stage) {
            (i >= first ? written : read).add(`${plan.ranks[row]}:${plan.blockTables[at]}`);
          }
          if (plan.sourceStage === stage) read.add(`${plan.sourceRanks[row]}:${plan.sourceBlockTables[at]}`);
        }
      }
    }
    return { read, written };
  }

  #blocksInFlight(stage: number): Set<string> {
    const { read, written } = this.#blocksOf(this.inFlight, stage);
    return new Set([...read, ...written]);
  }

  /** What the cache must hold at a position of a request. */
  #content(tracked: Tracked, position: number): string {
    const isShared = tracked.family >= 0 && position < tracked.promptTokens;
    return isShared ? `family ${tracked.family}:${position}` : `${tracked.uid}:${position}`;
  }

  #checkContext(plan: StepPlan, row: number): void {
    const tracked = this.live.get(plan.requestIds[row]!)!;
    const transfer = plan.kind === 'transfer';
    const stage = transfer ? plan.sourceStage : plan.stage;
    const from = transfer ? 'source' : 'own';
    const start = plan.contextStarts[row]!;
    for (let position = 0; position < start; position++) {
      const place = this.#place(plan, row, from, position);
      if (this.#caches[stage]!.get(place) !== this.#content(tracked, position)) {
        throw new Error(`position ${position} of request ${tracked.uid} is not in its block`);
      }
    }
    const known = tracked.promptTokens + tracked.generated;
    const until = start + plan.tokenCounts[row]!;
    if (until > known) throw new Error('a token is computed before it is known');
    if (!transfer && !tracked.ending && (plan.samples[row] === 1) !== (until === known)) {
      throw new Error('samples is set in the wrong place');
    }
    if (plan.blockCounts[row]! * this.#blockSize < until) throw new Error('a block is missing');
  }

  #write(plan: StepPlan, row: number, tracked: Tracked): void {
    const cache = this.#caches[plan.stage]!;
    const start = plan.contextStarts[row]!;
    const from = plan.kind === 'transfer' ? 0 : start;
    for (let position = from; position < start + plan.tokenCounts[row]!; position++) {
      cache.set(this.#place(plan, row, 'own', position), this.#content(tracked, position));
    }
  }

  #place(plan: StepPlan, row: number, side: 'own' | 'source', position: number): string {
    const tables = side === 'own' ? plan.blockTables : plan.sourceBlockTables;
    const ranks = side === 'own' ? plan.ranks : plan.sourceRanks;
    const block = tables[row * plan.blockTableStride + Math.floor(position / this.#blockSize)]!;
    return `${ranks[row]}:${block}/${position % this.#blockSize}`;
  }
}
