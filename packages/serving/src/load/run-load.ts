import { setMaxListeners } from 'node:events';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { LoadReport } from '@moestack/schemas';
import { AbortedError } from '@moestack/schemas/errors';
import { type Clock, systemClock } from '../clock.js';
import { badOption, ServingError } from '../errors.js';
import { seededRandom } from '../random.js';
import { LoadRecorder } from './load-recorder.js';
import type { LoadOptions } from './options.js';
import { PromptSource } from './prompts.js';
import { scaleTrace } from './scale-trace.js';
import { sendRequest } from './send-request.js';
import type { LoadTrace } from './trace.js';

const DEFAULT_TIMEOUT_SECONDS = 600;
const MODEL_LIST_SECONDS = 30;
/** Longest time that a timer can be set for. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Sends the requests of a trace to an OpenAI-compatible server, each when it is due, and measures how they are answered.
 *
 * @throws ServingError `serving/bad-options`, `serving/load-target` when the server does not name a model; AbortedError
 * when aborted before the first request.
 *
 * @example
 * ```ts
 * import { createGateway, listen } from '@moestack/serving';
 * import { createEmbeddedBackend } from '@moestack/serving/embedded';
 * import { runLoad, syntheticTrace } from '@moestack/serving/load';
 * import { tinyMoe } from '@moestack/tiny-moe';
 *
 * const backend = await createEmbeddedBackend({ modelDirectory: tinyMoe });
 * const server = await listen(createGateway({ backend }), { port: 0 });
 * const trace = syntheticTrace({ requests: 20, ratePerSecond: 20, inputTokens: 60, outputTokens: 20 });
 * const report = await runLoad({ url: server.url, trace, slo: { ttftSeconds: 1 } });
 * console.log(report.requests.completed, report.latency.ttftSeconds?.p90, report.attainment?.all);
 * await server.close({ drainSeconds: 1 });
 * await backend.close();
 * ```
 */
export async function runLoad(options: LoadOptions, clock: Clock = systemClock): Promise<LoadReport> {
  const trace = scaleTrace(options.trace, options);
  const checked = check(options, trace);
  if (options.signal?.aborted) throw new AbortedError('the load test', options.signal.reason);
  const model = options.model ?? (await firstModel(checked.base, options));
  const recorder = new LoadRecorder({
    keepRows: options.keepRows ?? false,
    ...(options.slo && { slo: options.slo }),
    ...(options.onRequest && { onRequest: options.onRequest }),
  });
  const load = new Load(options, trace, { ...checked, model }, recorder, clock);
  await load.run();
  return {
    schemaVersion: 1,
    target: { url: checked.base, model, endpoint: checked.endpoint },
    workload: {
      trace: trace.name,
      ...(trace.sha256 !== undefined && { sha256: trace.sha256 }),
      requests: trace.requests.length,
      arrivals: checked.arrivals,
      ...(options.concurrency !== undefined && { concurrency: options.concurrency }),
      timeScale: options.timeScale ?? 1,
      inputScale: options.inputScale ?? 1,
      outputScale: options.outputScale ?? 1,
      seed: checked.seed,
    },
    ...(options.slo && { slo: options.slo }),
    ...recorder.report(),
  };
}

interface Checked {
  readonly base: string;
  readonly endpoint: 'completions' | 'chat';
  readonly arrivals: 'open' | 'closed';
  readonly concurrency: number;
  readonly seed: number;
}

/** One run: at most one timer, and a place in the trace. */
class Load {
  readonly #options: LoadOptions;
  readonly #trace: LoadTrace;
  readonly #target: Checked & { model: string };
  readonly #recorder: LoadRecorder;
  readonly #clock: Clock;
  readonly #prompts: PromptSource;
  readonly #agent: HttpAgent;
  readonly #url: URL;
  readonly #abort = new AbortController();
  readonly #leaveAfter: (number | undefined)[];
  #startUs = 0;
  #next = 0;
  #running = 0;
  #timer: NodeJS.Timeout | undefined;
  #done: () => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;

  constructor(
    options: LoadOptions,
    trace: LoadTrace,
    target: Checked & { model: string },
    recorder: LoadRecorder,
    clock: Clock,
  ) {
    this.#options = options;
    this.#trace = trace;
    this.#target = target;
    this.#recorder = recorder;
    this.#clock = clock;
    this.#prompts = new PromptSource(trace, { seed: target.seed, vocabulary: options.vocabulary ?? 256 });
    const path = target.endpoint === 'chat' ? '/v1/chat/completions' : '/v1/completions';
    this.#url = new URL(target.base + path);
    const Agent = this.#url.protocol === 'https:' ? HttpsAgent : HttpAgent;
    this.#agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
    // Every request listens to it.
    setMaxListeners(0, this.#abort.signal);
    const random = seededRandom(target.seed ^ 0x5bd1e995);
    const fraction = options.abortFraction ?? 0;
    this.#leaveAfter = trace.requests.map(({ outputTokens }) =>
      random() < fraction ? 1 + Math.floor(random() * outputTokens) : undefined,
    );
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    const onAbort = () => {
      this.#next = this.#trace.requests.length;
      clearTimeout(this.#timer);
      this.#abort.abort();
      this.#settle();
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        this.#done = resolve;
        this.#fail = (error) => {
          // A callback threw: nothing more is sent, and what runs is ended.
          reject(error);
          onAbort();
        };
        this.#startUs = this.#clock.nowUs();
        if (signal?.aborted) onAbort();
        this.#pump();
      });
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#agent.destroy();
    }
  }

  /** Sends what is due and sets the timer for what comes next. */
  #pump(): void {
    clearTimeout(this.#timer);
    const { requests } = this.#trace;
    while (this.#next < requests.length && this.#running < this.#target.concurrency) {
      const due = this.#dueSeconds(this.#next);
      const waitMs = (due - this.#now()) * 1000;
      if (waitMs > 0.5) {
        this.#timer = setTimeout(() => this.#pump(), Math.min(waitMs, MAX_TIMER_MS));
        return;
      }
      this.#send(this.#next++, due);
    }
    this.#settle();
  }

  #dueSeconds(row: number): number {
    return this.#target.arrivals === 'closed' ? this.#now() : this.#trace.requests[row]!.arrivalUs / 1e6;
  }

  #now(): number {
    return (this.#clock.nowUs() - this.#startUs) / 1e6;
  }

  #send(row: number, due: number): void {
    const recorder = this.#recorder;
    const { apiKey, timeoutSeconds = DEFAULT_TIMEOUT_SECONDS } = this.#options;
    const body = JSON.stringify(this.#body(row));
    this.#running++;
    const sent = this.#now();
    recorder.send(due, sent);
    const headers: Record<string, string> = {
      'content-type': 'application/json',
      accept: 'text/event-stream',
      'content-length': String(Buffer.byteLength(body)),
      ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
    };
    const outgoing = {
      url: this.#url,
      headers,
      body,
      timeoutSeconds,
      leaveAfterChunks: this.#leaveAfter[row],
      signal: this.#abort.signal,
    };
    const listener = { onChunk: (gapSeconds: number | undefined) => recorder.chunk(gapSeconds) };
    const ended = sendRequest(outgoing, this.#agent, this.#clock, listener).then((result) => {
      this.#running--;
      const times = { due, sent, startUs: this.#startUs };
      recorder.end(row, this.#trace.requests[row]!.inputTokens, times, result);
      this.#options.onProgress?.({
        sent: recorder.sent,
        ended: recorder.ended,
        total: this.#trace.requests.length,
        completionTokens: recorder.completionTokens,
      });
      this.#pump();
    });
    ended.catch((error: unknown) => this.#fail(error));
  }

  #body(row: number): Record<string, unknown> {
    const { endpoint, model, seed } = this.#target;
    const { prompts = 'text', ignoreEos = true } = this.#options;
    const common = {
      model,
      max_tokens: this.#trace.requests[row]!.outputTokens,
      seed: seed + row,
      stream: true,
      stream_options: { include_usage: true },
      ...(ignoreEos && { ignore_eos: true }),
    };
    if (prompts === 'tokens') return { ...common, prompt: this.#prompts.tokens(row) };
    const text = this.#prompts.text(row);
    if (endpoint === 'completions') return { ...common, prompt: text };
    return { ...common, messages: [{ role: 'user', content: text }] };
  }

  #settle(): void {
    if (this.#next >= this.#trace.requests.length && this.#running === 0) this.#done();
  }
}

async function firstModel(base: string, options: LoadOptions): Promise<string> {
  const { apiKey, signal } = options;
  const timeout = AbortSignal.timeout(MODEL_LIST_SECONDS * 1000);
  let seen: unknown;
  try {
    const response = await fetch(`${base}/v1/models`, {
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
    });
    seen = response.status;
    const list = (await response.json()) as { data?: { id?: unknown }[] };
    const id = list.data?.[0]?.id;
    if (response.ok && typeof id === 'string' && id !== '') return id;
  } catch (cause) {
    if (signal?.aborted) throw new AbortedError('the load test', signal.reason);
    throw noModel(base, undefined, cause);
  }
  throw noModel(base, seen);
}

function noModel(base: string, status: unknown, cause?: unknown): ServingError {
  const reason = cause instanceof Error ? cause.message : `status ${String(status)}`;
  return new ServingError({
    code: 'serving/load-target',
    message: `${base}/v1/models does not name a model: ${reason}`,
    value: base,
    remedy: 'check that the server runs at this URL, pass its API key, or name the model',
    status: 502,
    cause,
  });
}

function check(options: LoadOptions, trace: LoadTrace): Checked {
  const { endpoint = 'completions', arrivals = 'open', prompts = 'text', seed = 1 } = options;
  const base = baseUrl(options.url);
  if (trace.requests.length === 0) throw badOption('trace', 0, 'a trace with requests');
  const concurrency = options.concurrency ?? (arrivals === 'open' ? Number.POSITIVE_INFINITY : Number.NaN);
  if (!(concurrency >= 1) || (options.concurrency !== undefined && !Number.isInteger(concurrency))) {
    throw badOption('concurrency', options.concurrency, 'an integer from 1 on');
  }
  if (prompts === 'tokens' && endpoint === 'chat')
    throw badOption('prompts', prompts, "'text' for the endpoint 'chat'");
  const { vocabulary = 256, abortFraction = 0, timeoutSeconds = DEFAULT_TIMEOUT_SECONDS } = options;
  if (!Number.isInteger(vocabulary) || vocabulary < 2)
    throw badOption('vocabulary', vocabulary, 'an integer from 2 on');
  if (!(abortFraction >= 0 && abortFraction <= 1))
    throw badOption('abortFraction', abortFraction, 'a number from 0 to 1');
  if (!(timeoutSeconds > 0 && timeoutSeconds * 1000 <= MAX_TIMER_MS)) {
    throw badOption(
      'timeoutSeconds',
      timeoutSeconds,
      `a number above 0, at most ${Math.floor(MAX_TIMER_MS / 1000)}`,
    );
  }
  if (!Number.isInteger(seed) || seed < 0) throw badOption('seed', seed, 'a non-negative integer');
  for (const [name, target] of Object.entries(options.slo ?? {})) {
    if (!(target > 0)) throw badOption(`slo.${name}`, target, 'a number of seconds above 0');
  }
  return { base, endpoint, arrivals, concurrency, seed };
}

function baseUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw badOption('url', text, 'an http: or https: URL');
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw badOption('url', text, 'an http: or https: URL');
  return (url.origin + url.pathname).replace(/\/+$/, '').replace(/\/v1$/, '');
}
