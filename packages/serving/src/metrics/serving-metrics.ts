import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { BackendEvent } from '../backend.js';
import type { BreakerState, GatewayEvent, GatewayObserver } from '../observer.js';
import { askEngines, type EngineSource } from './engine-source.js';
import { engineText } from './engine-text.js';
import { LabelLimit } from './label-limit.js';
import { type EndedRequest, RequestTracker } from './request-tracker.js';

/** Buckets as vLLM has them, so that panels made for it fit; more below 10 ms, where small models are. */
const firstTokenBuckets = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
  2560,
];
const tokenBuckets = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5,
  10, 20, 40, 80,
];
const latencyBuckets = [
  0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];
const lengthBuckets = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000,
];

const breakerLevels: Readonly<Record<BreakerState, number>> = { closed: 0, 'half-open': 1, open: 2 };

/** Options of {@link ServingMetrics}. */
export interface ServingMetricsOptions {
  /** Engines in this process. */
  readonly engines?: readonly EngineSource[];
  /** Names of the backends of this process: they tell how each continuation ended. */
  readonly localBackends?: readonly string[];
  /** Whether a model is served here; others are counted as `other`, since clients name what they like. */
  readonly isServed?: (model: string) => boolean;
}

/**
 * The figures behind `GET /metrics`. What vLLM has too carries its name (`vllm:`) and meaning, so that dashboards, alerts
 * and routers made for vLLM work; the rest begins with `moestack:`.
 */
export class ServingMetrics implements GatewayObserver {
  readonly contentType: string;
  readonly #registry = new Registry();
  readonly #engines: readonly EngineSource[];
  readonly #localBackends: ReadonlySet<string>;
  readonly #isServed: (model: string) => boolean;
  readonly #tracker = new RequestTracker((request) => this.#ended(request));
  readonly #models = new LabelLimit(100);
  readonly #keys = new LabelLimit(200);
  readonly #codes = new LabelLimit(60);
  readonly #routes = new LabelLimit(30);
  readonly #workers = new LabelLimit(8192);
  readonly #requests = this.#counter('requests_total', 'Requests by how they ended', [
    'route',
    'outcome',
    'code',
  ]);
  readonly #responses = this.#counter('http_responses_total', 'HTTP responses', ['route', 'status']);
  readonly #keyTokens = this.#counter('key_tokens_total', 'Tokens of finished requests by API key', [
    'key',
    'kind',
  ]);
  readonly #routed = this.#counter('backend_requests_total', 'Requests sent to servers', [
    'backend',
    'worker',
    'role',
  ]);
  readonly #retries = this.#counter('backend_retries_total', 'Tries after a failure', [
    'backend',
    'worker',
    'reason',
  ]);
  readonly #handoffs = this.#counter(
    'backend_kv_handoffs_total',
    'What became of the KV blocks of prefills',
    ['backend', 'result'],
  );
  readonly #findings = this.#counter(
    'guardrail_findings_total',
    'Texts in which the guardrail found something',
    ['source', 'action'],
  );
  readonly #breakerChanges = this.#counter('backend_breaker_changes_total', 'Changes of circuit breakers', [
    'backend',
    'worker',
    'to',
  ]);
  readonly #breakers = this.#gauge(
    'backend_breaker_state',
    'Circuit breaker: 0 closed, 1 half-open, 2 open',
    ['backend', 'worker'],
  );
  readonly #healthy = this.#gauge('backend_healthy', 'Outcome of the last health check', [
    'backend',
    'worker',
  ]);
  readonly #success = this.#vllmCounter('request_success_total', 'Requests answered in full', [
    'finished_reason',
  ]);
  readonly #counts = new Map<string, { promptTokens: number; generatedTokens: number; running: number }>();
  readonly #firstToken = this.#vllmHistogram(
    'time_to_first_token_seconds',
    'Arrival to first byte',
    firstTokenBuckets,
  );
  readonly #perToken = this.#vllmHistogram(
    'request_time_per_output_token_seconds',
    'Mean time between the tokens of a streamed answer after its first',
    tokenBuckets,
  );
  readonly #latency = this.#vllmHistogram('e2e_request_latency_seconds', 'Arrival to end', latencyBuckets);
  readonly #promptLength = this.#vllmHistogram(
    'request_prompt_tokens',
    'Prompt tokens of a request',
    lengthBuckets,
  );
  readonly #answerLength = this.#vllmHistogram(
    'request_generation_tokens',
    'Tokens generated for a request',
    lengthBuckets,
  );

  constructor(options: ServingMetricsOptions = {}) {
    this.#engines = options.engines ?? [];
    this.#localBackends = new Set(options.localBackends);
    this.#isServed = options.isServed ?? (() => true);
    this.contentType = this.#registry.contentType;
    const tracker = this.#tracker;
    new Gauge({
      name: 'moestack:requests_in_flight',
      help: 'Requests being answered',
      registers: [this.#registry],
      collect() {
        this.set(tracker.size);
      },
    });
  }

  observe(event: GatewayEvent): void {
    this.#tracker.observe(event);
    if (event.type === 'received') {
      this.#countsOf(event.model).running += 1;
    }
    if (event.type === 'received' || event.type === 'first-byte' || event.type === 'usage') return;
    if (event.type === 'finished') return;
    if (event.type === 'guardrail') {
      this.#findings.inc({ source: event.source === 'INPUT' ? 'input' : 'output', action: event.action });
      return;
    }
    const backend = this.#workers.value(event.backend);
    if (event.type === 'handoff') {
      this.#handoffs.inc({ backend, result: event.result });
      return;
    }
    const worker = this.#workers.value(event.worker);
    if (event.type === 'routed') this.#routed.inc({ backend, worker, role: event.role });
    else if (event.type === 'retry')
      this.#retries.inc({ backend, worker, reason: this.#codes.value(event.reason) });
    else if (event.type === 'health') this.#healthy.set({ backend, worker }, event.healthy ? 1 : 0);
    else {
      this.#breakerChanges.inc({ backend, worker, to: event.to });
      this.#breakers.set({ backend, worker }, breakerLevels[event.to]);
    }
  }

  /** Counts a response of any route. */
  response(route: string, status: number): void {
    this.#responses.inc({ route: this.#routes.value(route), status: String(status) });
  }

  /** Counts a continuation of a backend of this process when it ends; the returned function takes its events. */
  follow(model: string): (event: BackendEvent) => void {
    return (event) => {
      if (event.type === 'finish') {
        this.#success.inc({ model_name: this.#model(model), finished_reason: event.reason });
      }
    };
  }

  /** Everything in the Prometheus text format. */
  async text(): Promise<string> {
    const [registered, reports] = await Promise.all([this.#registry.metrics(), askEngines(this.#engines)]);
    const seen = [...this.#counts].map(([model, counts]) => ({ model, ...counts }));
    return `${registered.trimEnd()}\n${engineText(reports, seen)}`;
  }

  /** Counts of a model, as seen from outside. */
  #countsOf(model: string): { promptTokens: number; generatedTokens: number; running: number } {
    const name = this.#model(model);
    let counts = this.#counts.get(name);
    if (counts === undefined) {
      counts = { promptTokens: 0, generatedTokens: 0, running: 0 };
      this.#counts.set(name, counts);
    }
    return counts;
  }

  #ended(request: EndedRequest): void {
    const { received, usage, outcome, code } = request;
    const counts = this.#countsOf(received.model);
    counts.running -= 1;
    this.#requests.inc({
      route: this.#routes.value(received.route),
      outcome,
      code: code === undefined ? '' : this.#codes.value(code),
    });
    const labels = { model_name: this.#model(received.model) };
    if (usage !== undefined) {
      const { promptTokens, completionTokens } = usage;
      const key = received.keyId === undefined ? '' : this.#keys.value(received.keyId);
      this.#keyTokens.inc({ key, kind: 'prompt' }, promptTokens);
      this.#keyTokens.inc({ key, kind: 'generation' }, completionTokens);
      counts.promptTokens += promptTokens;
      counts.generatedTokens += completionTokens;
      this.#promptLength.observe(labels, promptTokens);
      this.#answerLength.observe(labels, completionTokens);
    }
    if (outcome !== 'ok') return;
    if (!this.#localBackends.has(request.routed.at(-1)?.backend ?? '')) {
      this.#success.inc({ ...labels, finished_reason: request.finishReason ?? 'unknown' });
    }
    this.#latency.observe(labels, (request.endedUs - received.atUs) / 1e6);
    if (request.ttftUs !== undefined) this.#firstToken.observe(labels, request.ttftUs / 1e6);
    if (request.tpotUs !== undefined) this.#perToken.observe(labels, request.tpotUs / 1e6);
  }

  #model(model: string): string {
    // Without a name, the first model is meant.
    if (model === '' && this.#engines[0] !== undefined) return this.#models.value(this.#engines[0].model);
    return this.#isServed(model) ? this.#models.value(model) : 'other';
  }

  #counter<T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> {
    return new Counter({
      name: `moestack:${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
    });
  }

  #gauge<T extends string>(name: string, help: string, labelNames: readonly T[]): Gauge<T> {
    return new Gauge({
      name: `moestack:${name}`,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
    });
  }

  #vllmCounter<T extends string = never>(
    name: string,
    help: string,
    labelNames: readonly T[] = [],
  ): Counter<T | 'model_name'> {
    return new Counter<T | 'model_name'>({
      name: `vllm:${name}`,
      help,
      labelNames: ['model_name', ...labelNames],
      registers: [this.#registry],
    });
  }

  #vllmHistogram(name: string, help: string, buckets: number[]): Histogram<'model_name'> {
    return new Histogram({
      name: `vllm:${name}`,
      help,
      buckets,
      labelNames: ['model_name'],
      registers: [this.#registry],
    });
  }
}
