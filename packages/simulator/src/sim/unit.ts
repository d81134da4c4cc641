import type { StepPlan } from '@moestack/scheduler';
import type { StepCostModel } from '../cost/step-cost.js';
import { Rank, type RankLimits, type RankRole } from './rank.js';
import type { RequestPool } from './request-pool.js';

/** What a unit tells the cluster. */
export interface UnitEvents {
  /** The request's first token is there. */
  firstToken(slot: number, nowUs: number): void;
  /** The request has its last token. */
  finished(slot: number, nowUs: number): void;
  /** KV of a request has reached its decoding rank. */
  delivered(slot: number): void;
}

/** Prices of a unit. */
export interface UnitCosts {
  readonly prefill: StepCostModel;
  readonly decode: StepCostModel;
  /** Seconds of moving the KV of so many tokens to another GPU. */
  transferSeconds(tokens: number): number;
}

const MAX_STEPS = 1 << 30;
const HALF_MICROSECOND = 5e-7;

/** What a unit did. */
export interface UnitStats {
  busyUs: number;
  steps: number;
  prefillTokens: number;
  decodeTokens: number;
  /** Sequences of the busiest rank, summed over steps. */
  busiestSum: number;
}

/**
 * One engine: data-parallel ranks that step together, because experts are spread over all of them. A step lasts as long as its busiest rank needs.
 */
export class Unit {
  readonly index: number;
  readonly role: RankRole;
  readonly ranks: readonly Rank[];
  readonly stats: UnitStats = { busyUs: 0, steps: 0, prefillTokens: 0, decodeTokens: 0, busiestSum: 0 };
  /** Whether a step runs. */
  stepping = false;
  /** Time of the next event of this unit, Infinity while it waits for requests. */
  wakeUs = Number.POSITIVE_INFINITY;
  /** Load of the running step, for the timeline. */
  lastSequences = 0;
  lastPrefillTokens = 0;
  lastStartUs = 0;
  readonly #costs: UnitCosts;
  readonly #singleSteps: boolean;
  readonly #events: UnitEvents;
  readonly #pool: RequestPool;
  /** Steps that the running event stands for. */
  #steps = 1;

  constructor(
    index: number,
    options: { role: RankRole; ranks: number; limits: RankLimits; costs: UnitCosts; singleSteps: boolean },
    pool: RequestPool,
    events: UnitEvents,
  ) {
    this.index = index;
    this.role = options.role;
    this.ranks = Array.from({ length: options.ranks }, () => new Rank(options.role, options.limits));
    this.#costs = options.costs;
    this.#singleSteps = options.singleSteps;
    this.#events = events;
    this.#pool = pool;
  }

  /** Whether a rank has requests that no step has taken up. */
  get waits(): boolean {
    return this.ranks.some(({ scheduler }) => scheduler.stats.active > 0);
  }

  /**
   * Hands a request of the pool to one of the unit's ranks; false if its queue is full. A decoding rank starts to take it over at once, also
   * while a step runs.
   */
  submit(rank: Rank, slot: number, nowUs: number): boolean {
    this.#settle(rank, rank.elapsed + this.#steps);
    if (!rank.submit(slot, this.#pool, nowUs)) return false;
    if (rank.role === 'decode') this.#plan(rank, nowUs);
    return true;
  }

  /** Ends the running steps, if there are any, at their time. */
  finishStep(nowUs: number): void {
    if (this.stepping) {
      this.stepping = false;
      for (let r = 0; r < this.ranks.length; r++) {
        const rank = this.ranks[r]!;
        if (rank.running === undefined) continue;
        rank.elapsed += this.#steps;
        rank.context += this.#steps * rank.running.decodeSequences;
        if (rank.elapsed >= rank.due) this.#complete(rank, rank.running, nowUs);
      }
    }
    for (let r = 0; r < this.ranks.length; r++) {
      const rank = this.ranks[r]!;
      if (rank.deliveries.length > 0) this.#deliver(rank, nowUs);
    }
    this.wakeUs = Number.POSITIVE_INFINITY;
  }

  /**
   * Starts the next step if there is anything to do, and sets `wakeUs`.
   *
   * @param horizonUs - when the next request can come from outside: steps that change nothing are taken together up to there.
   */
  startStep(nowUs: number, horizonUs: number): void {
    let running = 0;
    let steps = MAX_STEPS;
    for (let r = 0; r < this.ranks.length; r++) {
      const rank = this.ranks[r]!;
      if (rank.running === undefined && rank.sequences > 0) this.#begin(rank, nowUs);
      if (rank.running === undefined) continue;
      running++;
      steps = Math.min(steps, rank.due - rank.elapsed);
    }
    if (running === 0) {
      this.wakeUs = this.#nextDelivery();
      return;
    }
    const seconds = this.#price(steps, (Math.min(horizonUs, this.#nextDelivery()) - nowUs) / 1e6);
    const durationUs = Math.max(1, Math.round(seconds * 1e6));
    this.stepping = true;
    this.lastStartUs = nowUs;
    this.stats.busyUs += durationUs;
    this.stats.steps += this.#steps;
    this.wakeUs = nowUs + durationUs;
  }

  /** Seconds of up to `most` steps, as many as begin within `horizonSeconds`. */
  #price(most: number, horizonSeconds: number): number {
    let prefill: Rank | undefined;
    let prefillTotal = 0;
    let decodeMost = 0;
    let decodeTotal = 0;
    let contextMost = 0;
    let growth = 0;
    for (let r = 0; r < this.ranks.length; r++) {
      const rank = this.ranks[r]!;
      const plan = rank.running;
      if (plan === undefined) continue;
      if (plan.prefillTokens > 0) {
        prefillTotal += plan.prefillTokens;
        if (prefill === undefined || plan.prefillTokens > prefill.running!.prefillTokens) prefill = rank;
      }
      decodeTotal += plan.decodeSequences;
      if (plan.decodeSequences > decodeMost) decodeMost = plan.decodeSequences;
      if (rank.context > contextMost || (rank.context === contextMost && plan.decodeSequences > growth)) {
        contextMost = rank.context;
        growth = plan.decodeSequences;
      }
    }
    const ranks = this.ranks.length;
    let seconds = 0;
    let steps = 1;
    if (prefill !== undefined) {
      seconds += this.#costs.prefill.prefillSeconds(
        prefill.running!.prefillTokens,
        prefill.prefillContext,
        prefill.prefillSequences,
        prefillTotal / ranks,
      );
    }
    if (decodeMost > 0) {
      const mean = decodeTotal / ranks;
      const { decode } = this.#costs;
      const one = decode.decodeSeconds(decodeMost, contextMost, mean) / decode.tokensPerStep;
      if (prefill === undefined && most > 1) {
        steps = Math.min(most, this.#stepsUntilOvertaken(contextMost, growth));
        // Steps grow with the context: the last one must still begin before the horizon.
        let low = 1;
        while (low < steps) {
          const middle = low + Math.ceil((steps - low) / 2);
          const before = decode.decodeSeconds(decodeMost, contextMost + (middle - 2) * growth, mean);
          const begin = ((middle - 1) * (one + before / decode.tokensPerStep)) / 2;
          if (begin < horizonSeconds - HALF_MICROSECOND) low = middle;
          else steps = middle - 1;
        }
      }
      let each = one;
      if (steps > 1) {
        const grown = contextMost + (steps - 1) * growth;
        each = (one + decode.decodeSeconds(decodeMost, grown, mean) / decode.tokensPerStep) / 2;
      }
      seconds += steps * each;
      this.stats.busiestSum += steps * decodeMost;
    }
    this.#steps = steps;
    this.stats.prefillTokens += prefillTotal;
    this.stats.decodeTokens += decodeTotal * steps;
    this.lastSequences = decodeTotal;
    this.lastPrefillTokens = prefillTotal;
    return seconds;
  }

  /** Steps until another rank attends to more than the one that does now: its context grows by its sequences with every step. */
  #stepsUntilOvertaken(context: number, growth: number): number {
    let steps = MAX_STEPS;
    for (let r = 0; r < this.ranks.length; r++) {
      const rank = this.ranks[r]!;
      const faster = (rank.running?.decodeSequences ?? 0) - growth;
      if (faster > 0) steps = Math.min(steps, Math.floor((context - rank.context) / faster) + 1);
    }
    return steps;
  }

  /** Plans and starts the next compute step of a rank, and sums up its load. */
  #begin(rank: Rank, nowUs: number): void {
    if (rank.next === undefined || rank.role === 'decode') this.#plan(rank, nowUs);
    const plan = rank.next;
    if (plan === undefined) return;
    rank.next = undefined;
    rank.running = plan;
    rank.elapsed = 0;
    rank.settled = false;
    rank.prefillContext = 0;
    rank.prefillSequences = plan.sequences - plan.decodeSequences;
    const { contextStarts, requestIds, sequences, tokenCounts } = plan;
    const { limitOf, promptOf, slotOf } = rank;
    let context = 0;
    let fewest = MAX_STEPS;
    for (let row = 0; row < sequences; row++) {
      const id = requestIds[row]!;
      const cached = rank.role === 'decode' ? 0 : this.#pool.cachedTokens[slotOf[id]!]!;
      const start = contextStarts[row]!;
      // A sequence decodes when its prompt is done and one token is missing.
      if (start >= promptOf[id]! && tokenCounts[row] === 1) context += start + cached + 1;
      else rank.prefillContext += start + cached;
      const left = limitOf[id]! - start;
      if (left < fewest) fewest = left;
    }
    rank.context = context;
    rank.fewestLeft = plan.prefillTokens > 0 ? 1 : fewest;
    rank.due =
      rank.fewestLeft > 1 && !this.#singleSteps
        ? Math.max(1, Math.min(fewest, rank.scheduler.steadySteps()))
        : 1;
  }

  /** Makes a rank's plan stand for the steps it has run, before anything about the rank changes; it ends with them. */
  #settle(rank: Rank, steps: number): void {
    if (rank.running === undefined || rank.settled) return;
    rank.settled = true;
    rank.due = steps;
    if (steps > 1) rank.scheduler.fuse(rank.running.stepId, steps);
  }

  #plan(rank: Rank, nowUs: number): void {
    for (;;) {
      const plan = rank.scheduler.schedule(nowUs);
      if (plan === undefined) return;
      if (rank.role !== 'decode' || plan.stage === 1) {
        if (plan.kind === 'compute') {
          rank.next = plan;
          if (rank.role !== 'decode') return;
          continue;
        }
        this.#startTransfer(rank, plan, nowUs);
      } else {
        this.#takeOver(rank, plan, nowUs);
      }
    }
  }

  /** A step of the arriving stage: nothing to compute, unless a request lost its blocks here. */
  #takeOver(rank: Rank, plan: StepPlan, nowUs: number): void {
    let again = 0;
    for (let row = 0; row < plan.sequences; row++) {
      if (rank.scheduler.preemptionsOf(plan.requestIds[row]!) > 0) again += plan.tokenCounts[row]!;
    }
    if (again === 0) {
      rank.scheduler.complete(plan.stepId, rank.outcomes, nowUs);
      return;
    }
    const us = Math.ceil(this.#costs.prefill.prefillSeconds(again, 0, plan.sequences) * 1e6);
    rank.deliveries.push({ plan, endUs: nowUs + us });
  }

  #startTransfer(rank: Rank, plan: StepPlan, nowUs: number): void {
    let tokens = 0;
    for (let row = 0; row < plan.sequences; row++) tokens += plan.contextStarts[row]!;
    const us = Math.ceil(this.#costs.transferSeconds(tokens) * 1e6);
    rank.linkFreeUs = Math.max(rank.linkFreeUs, nowUs) + us;
    rank.deliveries.push({ plan, endUs: rank.linkFreeUs });
  }

  /** Takes in what has arrived; new sequences join the next step, so the running plan ends here. */
  #deliver(rank: Rank, nowUs: number): void {
    const { deliveries } = rank;
    let kept = 0;
    for (let i = 0; i < deliveries.length; i++) {
      const delivery = deliveries[i]!;
      if (delivery.endUs > nowUs) {
        deliveries[kept++] = delivery;
        continue;
      }
      const { plan } = delivery;
      if (rank.running !== undefined) this.#complete(rank, rank.running, nowUs);
      if (plan.kind === 'transfer') {
        this.#tellDelivered(rank, plan);
        rank.scheduler.complete(plan.stepId, rank.outcomes, nowUs);
      } else {
        this.#completeArriving(rank, plan, nowUs);
      }
    }
    deliveries.length = kept;
  }

  /** Tells of KV that came from the prefill pool; what was computed again here has more than its prompt. */
  #tellDelivered(rank: Rank, plan: StepPlan): void {
    for (let row = 0; row < plan.sequences; row++) {
      const id = plan.requestIds[row]!;
      if (plan.contextStarts[row] === rank.promptOf[id]) this.#events.delivered(rank.slotOf[id]!);
    }
  }

  /** Completes a step of the arriving stage. A request that was computed again may have its last token by that. */
  #completeArriving(rank: Rank, plan: StepPlan, nowUs: number): void {
    for (let row = 0; row < plan.sequences; row++) {
      const id = plan.requestIds[row]!;
      if (plan.samples[row] === 1 && plan.contextStarts[row]! + plan.tokenCounts[row]! >= rank.limitOf[id]!) {
        rank.release(id);
        this.#events.finished(rank.slotOf[id]!, nowUs);
      }
    }
    rank.scheduler.complete(plan.stepId, rank.outcomes, nowUs);
  }

  #complete(rank: Rank, plan: StepPlan, nowUs: number): void {
    const steps = rank.elapsed;
    this.#settle(rank, steps);
    rank.running = undefined;
    if (rank.fewestLeft <= steps) this.#report(rank, plan, nowUs);
    rank.scheduler.complete(plan.stepId, rank.outcomes, nowUs);
  }

  /** Tells of first and last tokens in a plan that is about to complete. */
  #report(rank: Rank, plan: StepPlan, nowUs: number): void {
    const { contextStarts, requestIds, samples, sequences, tokenCounts } = plan;
    const { limitOf, slotOf } = rank;
    const more = rank.elapsed - 1;
    for (let row = 0; row < sequences; row++) {
      if (samples[row] !== 1) continue;
      const id = requestIds[row]!;
      const slot = slotOf[id]!;
      if (rank.role !== 'decode' && this.#pool.firstTokenUs[slot]! < 0) {
        this.#pool.firstTokenUs[slot] = nowUs;
        if (rank.role === 'prefill') {
          rank.release(id);
          this.#events.firstToken(slot, nowUs);
          continue;
        }
        this.#events.firstToken(slot, nowUs);
      }
      if (contextStarts[row]! + tokenCounts[row]! + more >= limitOf[id]!) {
        rank.release(id);
        this.#events.finished(slot, nowUs);
      }
    }
  }

  #nextDelivery(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const rank of this.ranks) {
      for (const { endUs } of rank.deliveries) next = Math.min(next, endUs);
    }
    return next;
  }
}
