import type { LoadErrorCount, LoadReport, LoadRequestRow } from '@moestack/schemas';
import type { SloTargets } from '../embedded/engine-stats.js';
import { LatencySamples } from './latency-samples.js';
import type { ClientResult } from './send-request.js';

/** A second of the test; the last one takes what comes later. */
const MAX_TIMELINE_SECONDS = 86_400;
/** Kinds of error that are told apart. */
const MAX_ERRORS = 100;

type Second = LoadReport['timeline'][number];

/** Adds up what the client sees. */
export class LoadRecorder {
  sent = 0;
  ended = 0;
  completionTokens = 0;
  readonly rows: LoadRequestRow[] = [];
  readonly #slo: SloTargets | undefined;
  readonly #keepRows: boolean;
  readonly #onRequest: ((row: LoadRequestRow) => void) | undefined;
  readonly #requests = { sent: 0, completed: 0, rejected: 0, failed: 0, timeout: 0, aborted: 0 };
  readonly #tokens = { prompt: 0, cached: 0, completion: 0 };
  readonly #ttft = new LatencySamples();
  readonly #tpot = new LatencySamples();
  readonly #interToken = new LatencySamples();
  readonly #e2e = new LatencySamples();
  readonly #sendDelay = new LatencySamples();
  readonly #errors = new Map<string, LoadErrorCount>();
  readonly #timeline: Second[] = [];
  readonly #met = { all: 0, ttft: 0, tpot: 0, tokens: 0 };
  #lastSeconds = 0;
  #firstSeconds: number | undefined;

  constructor(options: {
    slo?: SloTargets;
    keepRows: boolean;
    onRequest?: (row: LoadRequestRow) => void;
  }) {
    this.#slo = options.slo;
    this.#keepRows = options.keepRows;
    this.#onRequest = options.onRequest;
  }

  /** A request goes out, `dueSeconds` and `nowSeconds` from the start of the test. */
  send(dueSeconds: number, nowSeconds: number): void {
    this.sent++;
    this.#requests.sent++;
    this.#firstSeconds ??= nowSeconds;
    this.#sendDelay.add(Math.max(0, nowSeconds - dueSeconds));
    this.#second(nowSeconds).sent++;
  }

  /** Text came, `nowSeconds` from the start of the test. */
  chunk(gapSeconds: number | undefined): void {
    if (gapSeconds !== undefined) this.#interToken.add(gapSeconds);
  }

  /** A request has ended. Times are from the start of the test. */
  end(
    index: number,
    inputTokens: number,
    times: { due: number; sent: number; startUs: number },
    result: ClientResult,
  ): void {
    const { outcome, completionTokens, firstUs, lastUs } = result;
    const endSeconds = (result.endUs - times.startUs) / 1e6;
    const e2eSeconds = endSeconds - times.sent;
    const ttftSeconds = firstUs === undefined ? undefined : (firstUs - times.startUs) / 1e6 - times.sent;
    const tpotSeconds =
      firstUs === undefined || lastUs === undefined || completionTokens < 2
        ? undefined
        : (lastUs - firstUs) / 1e6 / (completionTokens - 1);
    this.ended++;
    this.completionTokens += completionTokens;
    this.#requests[outcome]++;
    this.#lastSeconds = Math.max(this.#lastSeconds, endSeconds);
    const second = this.#second(endSeconds);
    second.ended++;
    second.completionTokens += completionTokens;
    this.#tokens.prompt += result.promptTokens;
    this.#tokens.cached += result.cachedTokens;
    this.#tokens.completion += completionTokens;
    if (outcome === 'completed') {
      if (ttftSeconds !== undefined) this.#ttft.add(ttftSeconds);
      if (tpotSeconds !== undefined) this.#tpot.add(tpotSeconds);
      this.#e2e.add(e2eSeconds);
      this.#judge(ttftSeconds, tpotSeconds, completionTokens);
    }
    if (result.error !== undefined) this.#error(result.error);
    if (!this.#keepRows && this.#onRequest === undefined) return;
    const row: LoadRequestRow = {
      index,
      scheduledSeconds: times.due,
      sentSeconds: times.sent,
      outcome,
      inputTokens,
      promptTokens: result.promptTokens,
      cachedTokens: result.cachedTokens,
      completionTokens,
      ...(ttftSeconds !== undefined && { ttftSeconds }),
      ...(tpotSeconds !== undefined && { tpotSeconds }),
      ...(outcome === 'completed' && { e2eSeconds }),
    };
    if (this.#keepRows) this.rows.push(row);
    this.#onRequest?.(row);
  }

  /** The measured part of a report. */
  report(): Omit<LoadReport, 'schemaVersion' | 'target' | 'workload' | 'slo'> {
    const durationSeconds = Math.max(0, this.#lastSeconds - (this.#firstSeconds ?? 0));
    const rate = (count: number) => (durationSeconds > 0 ? count / durationSeconds : 0);
    const judged = this.#requests.sent - this.#requests.aborted;
    const fraction = (count: number) => (judged > 0 ? count / judged : 1);
    const latency: Record<string, unknown> = {};
    for (const [name, samples] of [
      ['ttftSeconds', this.#ttft],
      ['tpotSeconds', this.#tpot],
      ['interTokenSeconds', this.#interToken],
      ['e2eSeconds', this.#e2e],
      ['sendDelaySeconds', this.#sendDelay],
    ] as const) {
      const summary = samples.summary();
      if (summary !== undefined) latency[name] = summary;
    }
    return {
      durationSeconds,
      requests: { ...this.#requests },
      tokens: { ...this.#tokens },
      throughput: {
        requestsPerSecond: rate(this.#requests.completed),
        promptTokensPerSecond: rate(this.#tokens.prompt),
        completionTokensPerSecond: rate(this.#tokens.completion),
        goodputRequestsPerSecond: rate(this.#met.all),
        goodputTokensPerSecond: rate(this.#met.tokens),
      },
      ...(this.#slo && {
        attainment: {
          all: fraction(this.#met.all),
          ttft: fraction(this.#met.ttft),
          tpot: fraction(this.#met.tpot),
        },
      }),
      latency: latency as LoadReport['latency'],
      errors: [...this.#errors.values()].sort((a, b) => b.count - a.count),
      timeline: this.#finishTimeline(),
      ...(this.#keepRows && { rows: this.rows.sort((a, b) => a.index - b.index) }),
    };
  }

  #judge(ttft: number | undefined, tpot: number | undefined, tokens: number): void {
    const { ttftSeconds = Number.POSITIVE_INFINITY, tpotSeconds = Number.POSITIVE_INFINITY } =
      this.#slo ?? {};
    // An answer without text has nothing to be late with.
    const meetsTtft = (ttft ?? 0) <= ttftSeconds;
    const meetsTpot = (tpot ?? 0) <= tpotSeconds;
    if (meetsTtft) this.#met.ttft++;
    if (meetsTpot) this.#met.tpot++;
    if (!meetsTtft || !meetsTpot) return;
    this.#met.all++;
    this.#met.tokens += tokens;
  }

  #error(error: Omit<LoadErrorCount, 'count'>): void {
    const key = `${error.kind} ${error.status ?? ''} ${error.code ?? ''}`;
    const known = this.#errors.get(key);
    if (known !== undefined) this.#errors.set(key, { ...known, count: known.count + 1 });
    else if (this.#errors.size < MAX_ERRORS) this.#errors.set(key, { ...error, count: 1 });
  }

  #second(seconds: number): Second {
    const second = Math.min(MAX_TIMELINE_SECONDS - 1, Math.max(0, Math.floor(seconds)));
    while (this.#timeline.length <= second) {
      this.#timeline.push({
        second: this.#timeline.length,
        sent: 0,
        ended: 0,
        completionTokens: 0,
        running: 0,
      });
    }
    return this.#timeline[second]!;
  }

  #finishTimeline(): Second[] {
    let running = 0;
    return this.#timeline.map((second) => {
      running += second.sent - second.ended;
      return { ...second, running };
    });
  }
}
