import type { Clock } from '../clock.js';
import type { SloTargets } from '../embedded/engine-stats.js';
import type { EngineReport } from '../metrics/engine-source.js';
import { type EndedRequest, RequestTracker, type TrackedRequest } from '../metrics/request-tracker.js';
import type { BreakerState, GatewayEvent, GatewayObserver } from '../observer.js';
import type { LiveEvent, RequestView, Sample, TargetView, TotalsView } from './protocol.js';
import { stagePrefix } from './views.js';

/** Options of {@link LiveStats}. */
export interface LiveStatsOptions {
  readonly clock: Clock;
  readonly slo?: SloTargets;
  /** Backends of this process: they are no servers to list. */
  readonly localBackends?: readonly string[];
  /** Latencies are of requests that ended this recently; default 30. */
  readonly windowSeconds?: number;
  /** Seconds that are kept; default 300. */
  readonly historySeconds?: number;
}

interface Latency {
  readonly atUs: number;
  readonly ttftUs: number | undefined;
  readonly tpotUs: number | undefined;
  readonly isMet: boolean;
}

interface Target {
  readonly name: string;
  breaker: BreakerState;
  isHealthy: boolean;
  inFlight: number;
  requests: number;
  failures: number;
}

/** Latencies are kept for so many requests at most, the newest. */
const maximumLatencies = 2048;
const maximumTargets = 64;
const recentRequests = 12;
/** Tokens of engines elsewhere are known when a request ends, so their rate is a mean over this long. */
const remoteRateSeconds = 10;

/** Second by second: what the gateway's events and the engines' figures say. Bounded, whatever happens. */
export class LiveStats implements GatewayObserver {
  readonly slo: SloTargets;
  readonly windowSeconds: number;
  readonly historySeconds: number;
  readonly #clock: Clock;
  readonly #local: ReadonlySet<string>;
  readonly #tracker = new RequestTracker((request) => this.#ended(request));
  readonly #samples: Sample[] = [];
  readonly #recent: RequestView[] = [];
  readonly #targets = new Map<string, Target>();
  readonly #totals = {
    requests: 0,
    refused: 0,
    failed: 0,
    promptTokens: 0,
    generatedTokens: 0,
    cachedTokens: 0,
  };
  #latencies: Latency[] = [];
  #finished = 0;
  #failed = 0;
  /** Tokens of requests by the second that they ended in, the newest last. */
  #endedTokens: { prompt: number; generated: number }[] = [{ prompt: 0, generated: 0 }];
  /** Whether the engines of this process count their tokens, so that those of their requests are known sooner. */
  #enginesCount = false;
  #before: { atUs: number; prompt: number; generated: number } | undefined;

  constructor(options: LiveStatsOptions) {
    this.#clock = options.clock;
    this.#local = new Set(options.localBackends);
    this.slo = options.slo ?? {};
    this.windowSeconds = options.windowSeconds ?? 30;
    this.historySeconds = options.historySeconds ?? 300;
  }

  /** The kept seconds, oldest first. */
  get samples(): readonly Sample[] {
    return this.#samples;
  }

  observe(event: GatewayEvent): void {
    if (event.type === 'routed' && !this.#local.has(event.backend)) {
      const target = this.#target(event.worker);
      if (target !== undefined) {
        target.inFlight += 1;
        target.requests += 1;
      }
    } else if (event.type === 'retry') {
      const target = this.#targets.get(event.worker);
      if (target !== undefined) target.failures += 1;
    } else if (event.type === 'breaker') {
      const target = this.#target(event.worker);
      if (target !== undefined) target.breaker = event.to;
    } else if (event.type === 'health') {
      const target = this.#target(event.worker);
      if (target !== undefined) target.isHealthy = event.healthy;
    }
    this.#tracker.observe(event);
  }

  /** Ends a second. To be called once a second. */
  tick(engines: readonly EngineReport[]): Omit<LiveEvent, 'problem'> {
    const nowUs = this.#clock.nowUs();
    const fromUs = nowUs - this.windowSeconds * 1e6;
    this.#latencies = this.#latencies.filter(({ atUs }) => atUs >= fromUs);
    const rates = this.#rates(engines, nowUs);
    const stages = engines.flatMap(({ model, stats }) =>
      (stats.stages ?? []).map(({ stage, blocksUsed, blocksTotal }) => ({
        stage: `${stagePrefix(engines, model)}${stage}`,
        usedBlocks: blocksUsed,
        totalBlocks: blocksTotal,
      })),
    );
    const ttft = sorted(this.#latencies.map(({ ttftUs }) => ttftUs));
    const tpot = sorted(this.#latencies.map(({ tpotUs }) => tpotUs));
    const met = this.#latencies.filter(({ isMet }) => isMet).length;
    const hasTargets = this.slo.ttftSeconds !== undefined || this.slo.tpotSeconds !== undefined;
    const sum = (field: 'running' | 'waiting') =>
      engines.reduce((total, { stats }) => total + (stats[field] ?? 0), 0);
    const sample: Sample = {
      atSeconds: this.#clock.unixSeconds(),
      generatedTokens: round(rates.generated),
      promptTokens: round(rates.prompt),
      running: sum('running') + [...this.#tracker.open].filter((one) => this.#isElsewhere(one)).length,
      waiting: sum('waiting'),
      kvUse:
        stages.length === 0
          ? null
          : round(Math.max(...stages.map((stage) => stage.usedBlocks / Math.max(1, stage.totalBlocks))), 4),
      ttftP50: percentile(ttft, 0.5),
      ttftP90: percentile(ttft, 0.9),
      tpotP50: percentile(tpot, 0.5),
      tpotP90: percentile(tpot, 0.9),
      attained: hasTargets && this.#latencies.length > 0 ? round(met / this.#latencies.length, 4) : null,
      finished: this.#finished,
      failed: this.#failed,
    };
    this.#finished = 0;
    this.#failed = 0;
    this.#samples.push(sample);
    if (this.#samples.length > this.historySeconds) this.#samples.shift();
    return {
      sample,
      stages,
      targets: [...this.#targets.values()].map(targetView),
      recent: [...this.#recent],
      totals: this.#totalsView(engines),
    };
  }

  #rates(engines: readonly EngineReport[], nowUs: number): { prompt: number; generated: number } {
    this.#endedTokens.push({ prompt: 0, generated: 0 });
    if (this.#endedTokens.length > remoteRateSeconds + 1) this.#endedTokens.shift();
    this.#enginesCount = engines.some(({ stats }) => stats.generatedTokens !== undefined);
    const now = {
      atUs: nowUs,
      prompt: engines.reduce((total, { stats }) => total + (stats.promptTokens ?? 0), 0),
      generated: engines.reduce((total, { stats }) => total + (stats.generatedTokens ?? 0), 0),
    };
    const before = this.#before ?? now;
    this.#before = now;
    const seconds = Math.max(0, nowUs - before.atUs) / 1e6;
    const rate = (field: 'prompt' | 'generated') => {
      const ended = this.#endedTokens.reduce((total, one) => total + one[field], 0);
      // An engine that has been started again counts from zero.
      const counted = seconds === 0 ? 0 : Math.max(0, now[field] - before[field]) / seconds;
      return counted + ended / remoteRateSeconds;
    };
    return { prompt: rate('prompt'), generated: rate('generated') };
  }

  /** Whether a request is with a server of a pool. */
  #isElsewhere({ routed }: TrackedRequest): boolean {
    const last = routed.at(-1);
    return last !== undefined && !this.#local.has(last.backend);
  }

  #totalsView(engines: readonly EngineReport[]): TotalsView {
    const counts = engines.flatMap(({ stats }) => stats.preemptions ?? []);
    return {
      ...this.#totals,
      preemptions: counts.length === 0 ? null : counts.reduce((total, count) => total + count, 0),
    };
  }

  #target(name: string): Target | undefined {
    const known = this.#targets.get(name);
    if (known !== undefined || this.#targets.size >= maximumTargets) return known;
    const target: Target = {
      name,
      breaker: 'closed',
      isHealthy: true,
      inFlight: 0,
      requests: 0,
      failures: 0,
    };
    this.#targets.set(name, target);
    return target;
  }

  #ended(request: EndedRequest): void {
    const { usage, outcome, received } = request;
    for (const { worker } of request.routed) {
      const target = this.#targets.get(worker);
      if (target !== undefined) target.inFlight -= 1;
    }
    const last = this.#targets.get(request.routed.at(-1)?.worker ?? '');
    if (outcome === 'failed' && last !== undefined) last.failures += 1;
    const totals = this.#totals;
    totals.requests += 1;
    this.#finished += 1;
    if (outcome === 'refused') totals.refused += 1;
    if (outcome === 'failed') {
      totals.failed += 1;
      this.#failed += 1;
    }
    totals.promptTokens += usage?.promptTokens ?? 0;
    totals.generatedTokens += usage?.completionTokens ?? 0;
    totals.cachedTokens += usage?.cachedTokens ?? 0;
    if (!this.#enginesCount || this.#isElsewhere(request)) {
      const bucket = this.#endedTokens.at(-1)!;
      bucket.prompt += usage?.promptTokens ?? 0;
      bucket.generated += usage?.completionTokens ?? 0;
    }
    this.#recent.unshift({
      id: received.requestId,
      endpoint: received.route,
      status: request.status,
      outcome,
      promptTokens: usage?.promptTokens ?? null,
      generatedTokens: usage?.completionTokens ?? 0,
      ttftMs: toMs(request.ttftUs),
      tpotMs: toMs(request.tpotUs),
      durationMs: round((request.endedUs - received.atUs) / 1000),
    });
    if (this.#recent.length > recentRequests) this.#recent.pop();
    // A client that left has no opinion on the answer's speed; a request that is the client's fault neither.
    if (outcome === 'aborted' || (outcome === 'refused' && request.status !== 429)) return;
    const isOk = outcome === 'ok';
    this.#latencies.push({
      atUs: request.endedUs,
      ttftUs: isOk ? request.ttftUs : undefined,
      tpotUs: isOk ? request.tpotUs : undefined,
      isMet:
        isOk && within(request.ttftUs, this.slo.ttftSeconds) && within(request.tpotUs, this.slo.tpotSeconds),
    });
    if (this.#latencies.length > maximumLatencies) this.#latencies.shift();
  }
}

function within(us: number | undefined, seconds: number | undefined): boolean {
  return us === undefined || seconds === undefined || us <= seconds * 1e6;
}

function targetView({ name, breaker, isHealthy, inFlight, requests, failures }: Target): TargetView {
  const state = breaker !== 'closed' ? breaker : isHealthy ? 'healthy' : 'unhealthy';
  return { name, state, inFlight, requests, failures };
}

function sorted(values: readonly (number | undefined)[]): number[] {
  return values.filter((value) => value !== undefined).sort((a, b) => a - b);
}

/** The nearest-rank percentile in milliseconds. */
function percentile(values: readonly number[], share: number): number | null {
  if (values.length === 0) return null;
  return toMs(values[Math.max(0, Math.ceil(share * values.length) - 1)]);
}

function toMs(us: number | undefined): number | null {
  return us === undefined ? null : round(us / 1000);
}

function round(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}
