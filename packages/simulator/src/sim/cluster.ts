import type { PrefixCache } from '@moestack/scheduler';
import type { Deployment, Pool } from '../cost/deployment.js';
import type { SimulatedRequest } from '../workload/request-source.js';
import { EventQueue } from './event-queue.js';
import { QuantileSketch } from './quantile-sketch.js';
import type { Rank, RankLimits } from './rank.js';
import { RequestPool } from './request-pool.js';
import type { TimelineEvent } from './timeline.js';
import { Unit, type UnitCosts, type UnitEvents } from './unit.js';

/** Sizes and prices of a {@link Cluster}. */
export interface ClusterOptions {
  readonly deployment: Deployment;
  readonly prefillLimits: RankLimits;
  readonly decodeLimits: RankLimits;
  readonly costs: UnitCosts;
  readonly cache: PrefixCache | undefined;
  readonly prefixBlockTokens: number;
  readonly slo: { ttftSeconds: number; tpotSeconds: number } | undefined;
  readonly timelineSteps: number;
  readonly singleSteps: boolean;
  /** Whether requests come when others are answered. */
  readonly closed: boolean;
  /** Called when a request has its last token: closed traffic sends the next one. */
  readonly onFinished: (nowUs: number) => void;
}

/** A rank and the unit that it belongs to. */
interface Entry {
  readonly rank: Rank;
  readonly unit: Unit;
}

/** The state of a simulated deployment: units, requests on their way, and what has been measured. */
export class Cluster implements UnitEvents {
  readonly ttft: QuantileSketch = new QuantileSketch();
  readonly tpot: QuantileSketch = new QuantileSketch();
  readonly latency: QuantileSketch = new QuantileSketch();
  readonly prefillUnits: readonly Unit[];
  readonly decodeUnits: readonly Unit[];
  readonly timeline: TimelineEvent[] = [];
  readonly requests: RequestPool = new RequestPool();
  finishedCount = 0;
  withinSlo = 0;
  inputTokens = 0;
  cachedTokens = 0;
  outputTokens = 0;
  refusedFull = 0;
  refusedTooLong = 0;
  lastFinishUs = 0;
  ttftWithin = 0;
  tpotWithin = 0;
  readonly #options: ClusterOptions;
  readonly #units: Unit[] = [];
  readonly #queue: EventQueue = new EventQueue();
  /** Ranks where requests enter, with their units. */
  readonly #entries: Entry[] = [];
  readonly #decoders: Entry[] = [];
  /** Tokens of prompts that have left prefill and not reached a decoding rank: they hold the prefill pool's memory. */
  #inHandover = 0;
  readonly #handoverLimit: number;
  readonly #minimumPrefillUs: number;

  constructor(options: ClusterOptions) {
    const { deployment, prefillLimits, decodeLimits, costs, singleSteps } = options;
    this.#options = options;
    const { prefill, decode } = deployment;
    const build = (pool: Pool, role: Unit['role'], limits: RankLimits): Unit[] =>
      Array.from({ length: pool.units }, () => {
        const setting = { role, ranks: pool.dp, limits, costs, singleSteps };
        const unit = new Unit(this.#units.length, setting, this.requests, this);
        this.#units.push(unit);
        return unit;
      });
    this.prefillUnits = prefill === null ? [] : build(prefill, 'prefill', prefillLimits);
    this.decodeUnits = build(decode, prefill === null ? 'mixed' : 'decode', decodeLimits);
    const list = (units: readonly Unit[]): Entry[] =>
      units.flatMap((unit) => unit.ranks.map((rank) => ({ rank, unit })));
    this.#decoders = list(this.decodeUnits);
    this.#entries = prefill === null ? this.#decoders : list(this.prefillUnits);
    this.#handoverLimit = prefill === null ? 0 : prefillLimits.kvTokens * prefill.dp * prefill.units;
    this.#minimumPrefillUs = costs.prefill.prefillSeconds(1, 0, 1) * 1e6;
  }

  /** Time of the earliest event, Infinity if nothing happens any more. */
  get nextEventUs(): number {
    return this.#queue.nextTime;
  }

  /** Requests that have arrived and not ended. */
  get inFlight(): number {
    return this.requests.size;
  }

  /** Takes in a request at its time. */
  arrive(request: SimulatedRequest, nowUs: number): boolean {
    const { cache, prefixBlockTokens, prefillLimits, decodeLimits } = this.#options;
    const { inputTokens, outputTokens, blocks } = request;
    const longest = Math.min(prefillLimits.maxContextTokens, decodeLimits.maxContextTokens);
    if (inputTokens + outputTokens > longest) {
      this.refusedTooLong++;
      return false;
    }
    let cached = request.cachedTokens;
    if (blocks.length > 0) {
      cached = cache === undefined ? 0 : Math.min(cache.take(blocks) * prefixBlockTokens, inputTokens);
    }
    // The last token is always computed: its logits are needed.
    cached = Math.min(cached, inputTokens - 1);
    const slot = this.requests.take(nowUs, inputTokens, outputTokens, cached);
    const entry = this.prefillUnits.length > 0 ? fewestTokens(this.#entries) : fewestSequences(this.#entries);
    if (!entry.unit.submit(entry.rank, slot, nowUs)) {
      this.requests.give(slot);
      this.refusedFull++;
      return false;
    }
    this.inputTokens += inputTokens;
    this.cachedTokens += cached;
    this.#wake(entry.unit, nowUs);
    return true;
  }

  /** Runs the earliest event; there must be one. `nextArrivalUs` bounds how far steps are fused. */
  step(nextArrivalUs: number): void {
    const nowUs = this.#queue.nextTime;
    const unit = this.#units[this.#queue.pop()]!;
    if (unit.wakeUs !== nowUs) return;
    if (unit.stepping) this.#record(unit, nowUs);
    const before = this.requests.size;
    unit.finishStep(nowUs);
    // Closed traffic answers what ended in this very step with requests at this time.
    const answered = this.#options.closed && this.requests.size !== before;
    if (unit.role !== 'prefill' || this.#inHandover < this.#handoverLimit) {
      unit.startStep(nowUs, this.#horizonUs(unit, answered ? nowUs : nextArrivalUs));
      if (unit.wakeUs < Number.POSITIVE_INFINITY) this.#queue.push(unit.wakeUs, unit.index);
    }
    if (unit.role === 'decode') this.#wakePrefill(nowUs);
  }

  /** A prefilled request goes to the decoding rank with the fewest sequences. */
  firstToken(slot: number, nowUs: number): void {
    const { requests } = this;
    const ttft = (nowUs - requests.arrivalUs[slot]!) / 1e6;
    this.ttft.add(ttft);
    requests.firstTokenUs[slot] = nowUs;
    if (requests.outputTokens[slot] === 1) {
      // A mixed unit reports the end itself.
      if (this.#options.deployment.prefill !== null) this.finished(slot, nowUs);
      return;
    }
    if (this.#options.deployment.prefill === null) return;
    const target = fewestSequences(this.#decoders);
    if (!target.unit.submit(target.rank, slot, nowUs)) {
      this.refusedFull++;
      requests.give(slot);
      this.#options.onFinished(nowUs);
      return;
    }
    this.#inHandover += requests.inputTokens[slot]!;
    this.#wake(target.unit, nowUs);
  }

  delivered(slot: number): void {
    this.#inHandover -= this.requests.inputTokens[slot]!;
  }

  finished(slot: number, nowUs: number): void {
    const { requests } = this;
    const { slo, onFinished } = this.#options;
    const output = requests.outputTokens[slot]!;
    const ttft = (requests.firstTokenUs[slot]! - requests.arrivalUs[slot]!) / 1e6;
    const tpot = output > 1 ? (nowUs - requests.firstTokenUs[slot]!) / 1e6 / (output - 1) : 0;
    if (output > 1) this.tpot.add(tpot);
    this.latency.add((nowUs - requests.arrivalUs[slot]!) / 1e6);
    this.outputTokens += output;
    this.finishedCount++;
    this.lastFinishUs = nowUs;
    if (slo !== undefined) {
      const early = ttft <= slo.ttftSeconds;
      const fluent = tpot <= slo.tpotSeconds;
      if (early) this.ttftWithin++;
      if (fluent) this.tpotWithin++;
      if (early && fluent) this.withinSlo++;
    }
    requests.give(slot);
    onFinished(nowUs);
  }

  /** Lets an idle unit look for work at this time, after everything else that happens now. */
  #wake(unit: Unit, nowUs: number): void {
    if (unit.stepping || unit.wakeUs <= nowUs) return;
    unit.wakeUs = nowUs;
    this.#queue.push(nowUs, unit.index);
  }

  /** Before when nothing can reach the unit from outside. */
  #horizonUs(unit: Unit, nextArrivalUs: number): number {
    const { closed } = this.#options;
    const arrivalUs = closed ? Math.min(nextArrivalUs, this.#queue.nextTime) : nextArrivalUs;
    if (unit.role !== 'decode') return arrivalUs;
    let horizonUs = arrivalUs + this.#minimumPrefillUs;
    for (const { wakeUs } of this.prefillUnits) if (wakeUs < horizonUs) horizonUs = wakeUs;
    return horizonUs;
  }

  /** Prefill that stood still because decoding was behind may go on. */
  #wakePrefill(nowUs: number): void {
    if (this.#inHandover >= this.#handoverLimit) return;
    for (const unit of this.prefillUnits) {
      if (unit.wakeUs === Number.POSITIVE_INFINITY && unit.waits) this.#wake(unit, nowUs);
    }
  }

  #record(unit: Unit, nowUs: number): void {
    if (this.timeline.length >= this.#options.timelineSteps) return;
    this.timeline.push({
      name: unit.lastPrefillTokens > 0 ? 'prefill' : 'decode',
      ph: 'X',
      ts: unit.lastStartUs,
      dur: nowUs - unit.lastStartUs,
      pid: unit.index,
      tid: 0,
      args: { sequences: unit.lastSequences, prefillTokens: unit.lastPrefillTokens },
    });
  }
}

/** The rank with the fewest sequences, which decoding is paid for by; among equals the one with the fewest tokens. */
function fewestSequences(entries: readonly Entry[]): Entry {
  let best = entries[0]!;
  for (let i = 1; i < entries.length; i++) {
    const { rank } = entries[i]!;
    const fewer = rank.sequences - best.rank.sequences;
    if (fewer < 0 || (fewer === 0 && rank.outstandingTokens < best.rank.outstandingTokens))
      best = entries[i]!;
  }
  return best;
}

/** The rank with the fewest tokens, which prefill is paid for by. */
function fewestTokens(entries: readonly Entry[]): Entry {
  let best = entries[0]!;
  for (let i = 1; i < entries.length; i++) {
    if (entries[i]!.rank.outstandingTokens < best.rank.outstandingTokens) best = entries[i]!;
  }
  return best;
}
