import { upstreamError } from '../errors.js';
import type { ForwardAnswer, ForwardOptions, ForwardRequest } from '../forward.js';
import { JsonObject } from '../json/json-object.js';
import { type BodySource, Leg } from '../upstream/leg.js';
import type { Worker } from '../upstream/worker.js';
import { AnswerGrace } from './answer-grace.js';
import { fanOut, splitRequest } from './fan-out.js';
import { HandedOver } from './handed-over.js';
import { MooncakeEngines } from './mooncake-engines.js';
import { PairBackend, type PairBackendOptions } from './pair-backend.js';
import { legHeaders, type RequestScope } from './pool-backend.js';
import { firstOf, PrefillWatch, WatchedSource } from './prefill-watch.js';
import { asServingError, bodyAnswer, errorAnswer, isSuccess } from './read-answer.js';
import type { Attempt } from './retry.js';

/** How KV blocks travel. `mooncake-legacy`: releases that name the bootstrap server by host and port. */
export type VllmConnector = 'nixl' | 'mooncake' | 'mooncake-legacy';

/** Options of {@link VllmBackend}. */
export interface VllmBackendOptions extends PairBackendOptions {
  /** Default `nixl`. */
  readonly connector?: VllmConnector;
  /** Longest wait for the decode server to take over the blocks of a client that left; default 2. */
  readonly cancelGraceSeconds?: number;
  /** How long a prefill may still end whose client left, lest its blocks stay pinned; default 0.5. */
  readonly prefillGraceSeconds?: number;
}

const maxPrefillBytes = 64 * 1024 * 1024;
const askNixl =
  '{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}';

/**
 * vLLM with prefill and decode on different servers, over the NIXL or the Mooncake connector.
 *
 * NIXL: the prefill server computes the prompt and answers with parameters that name its KV blocks; the decode server
 * gets the client's request with exactly these. Mooncake: both get it at once with a common transfer id.
 */
export class VllmBackend extends PairBackend {
  readonly #connector: VllmConnector;
  readonly #graceSeconds: number;
  readonly #prefillGraceSeconds: number;
  readonly #engines = new MooncakeEngines();
  /** Decode legs of clients that left. */
  readonly #releasing = new Set<Promise<void>>();

  constructor(options: VllmBackendOptions) {
    super(options);
    this.#connector = options.connector ?? 'nixl';
    this.#graceSeconds = options.cancelGraceSeconds ?? 2;
    this.#prefillGraceSeconds = options.prefillGraceSeconds ?? 0.5;
  }

  /** Each prompt and choice needs KV blocks of its own, so each becomes a request of its own. */
  override async forward(request: ForwardRequest, options: ForwardOptions): Promise<ForwardAnswer> {
    const parts = splitRequest(request);
    if (parts.length === 1) return super.forward(request, options);
    return fanOut(request, parts, options, (part, partOptions) => super.forward(part, partOptions));
  }

  protected attempt(scope: RequestScope, attempt: number): Promise<Attempt> {
    return this.#connector === 'nixl' ? this.#sequential(scope, attempt) : this.#concurrent(scope, attempt);
  }

  async #sequential(scope: RequestScope, attempt: number): Promise<Attempt> {
    const { request, options } = scope;
    // Blocks are named by the request they were made for: a new round gets a new id.
    const id = attempt === 0 ? request.requestId : `${request.requestId}-r${attempt}`;
    const worker = this.pick(scope, this.prefill, 'prefill', attempt);
    const leg = this.#sendPrefill(scope, worker, id, askNixl);
    const grace = new AnswerGrace(leg, options.signal, this.#prefillGraceSeconds);
    const other = { pool: this.prefill, role: 'prefill' } as const;
    let params: string | undefined;
    try {
      const head = await leg.head;
      if (!isSuccess(head)) {
        const result = await errorAnswer(leg, head);
        if (options.signal.aborted) throw options.signal.reason;
        return this.failed(scope, worker, result, other);
      }
      params = transferParams(await leg.text(maxPrefillBytes), worker);
    } catch (error) {
      if (options.signal.aborted) throw options.signal.reason;
      return this.failed(scope, worker, asServingError(error, worker.name), other);
    } finally {
      grace.end();
    }
    if (params === undefined) {
      this.#handoff(scope, 'null');
      if (options.signal.aborted) throw options.signal.reason;
    }
    return this.#sendDecode(scope, { attempt, id, params });
  }

  async #concurrent(scope: RequestScope, attempt: number): Promise<Attempt> {
    const { request, options } = scope;
    const id = attempt === 0 ? request.requestId : `${request.requestId}-r${attempt}`;
    const worker = this.pick(scope, this.prefill, 'prefill', attempt);
    const rank = worker.takeRank();
    const other = { pool: this.prefill, role: 'prefill' } as const;
    let params: string;
    try {
      params = await this.#mooncakeParams(worker, rank, id);
    } catch (error) {
      if (options.signal.aborted) throw options.signal.reason;
      worker.breaker.failure();
      return this.failed(scope, worker, asServingError(error, worker.name), other);
    }
    const ask =
      this.#connector === 'mooncake'
        ? `{"do_remote_decode":true,"do_remote_prefill":false,"transfer_id":"xfer-${id}"}`
        : '{"do_remote_decode":true,"do_remote_prefill":false}';
    const leg = this.#sendPrefill(scope, worker, id, ask, rank);
    const watch = new PrefillWatch(leg);
    const outcome = await this.#sendDecode(scope, { attempt, id, params, watch });
    // A restarted server has a new engine id.
    if (watch.failure !== undefined) this.#engines.forget(worker);
    if (outcome.type === 'failed') watch.abort(outcome.result);
    return outcome;
  }

  #mooncakeParams(worker: Worker, rank: number, id: string): Promise<string> {
    if (this.#connector === 'mooncake') return this.#engines.params(worker, rank, id);
    const host = JSON.stringify(worker.bootstrapHost);
    return Promise.resolve(
      `{"do_remote_decode":false,"do_remote_prefill":true,"bootstrap_server_host":${host},"bootstrap_server_port":${worker.bootstrapPort ?? 8998}}`,
    );
  }

  #sendPrefill(scope: RequestScope, worker: Worker, id: string, params: string, rank?: number): Leg {
    const { request } = scope;
    const { body } = request;
    const headers = legHeaders(request, id);
    // Only where there are ranks to choose from, or the other leg names the rank.
    if (worker.dataParallelRanks > 1 || rank !== undefined) {
      headers['x-data-parallel-rank'] = String(rank ?? worker.takeRank());
    }
    return Leg.send(worker, {
      path: request.path,
      headers,
      body: body.with({
        stream: 'false',
        max_tokens: '1',
        ...(body.has('max_completion_tokens') && { max_completion_tokens: '1' }),
        ...(body.has('n') && { n: '1' }),
        // A leg that ends by anything but its length hands nothing over.
        ignore_eos: 'true',
        stop: undefined,
        stop_token_ids: undefined,
        best_of: undefined,
        stream_options: undefined,
        min_tokens: undefined,
        min_completion_tokens: undefined,
        kv_transfer_params: params,
      }),
    });
  }

  /**
   * The decode leg. While its server cannot even be reached, the blocks are untouched and another one may have them;
   * once bytes were sent, they must not be offered again.
   */
  async #sendDecode(scope: RequestScope, round: Round): Promise<Attempt> {
    const { signal } = scope.options;
    const other = { pool: this.decode, role: 'decode' } as const;
    if (signal.aborted) this.#leave(scope, round);
    for (;;) {
      const leg = this.#decodeLeg(scope, round);
      const outcome = await firstOf(leg, signal, round.watch);
      switch (outcome.type) {
        case 'head': {
          if (round.params !== undefined) this.#handoff(scope, 'delivered');
          if (isSuccess(outcome.head)) {
            return { type: 'answer', answer: bodyAnswer(outcome.head, this.#source(scope, round, leg)) };
          }
          const result = await errorAnswer(leg, outcome.head);
          if (signal.aborted) throw signal.reason;
          return this.failed(scope, leg.worker, result, other);
        }
        case 'left':
          this.#leave(scope, round, leg);
          break;
        case 'prefill':
          leg.abort(outcome.failure);
          return this.failed(scope, round.watch!.worker, outcome.failure, {
            pool: this.prefill,
            role: 'prefill',
          });
        case 'error':
          if (!leg.wasSent && this.decode.hasFresh(scope.tried.decode)) continue;
          if (!leg.wasSent && round.params !== undefined) this.#handoff(scope, 'lost');
          return this.failed(scope, leg.worker, asServingError(outcome.error, leg.worker.name), other);
      }
    }
  }

  #decodeLeg(scope: RequestScope, { attempt, id, params }: Round): Leg {
    const { request } = scope;
    const worker = this.pick(scope, this.decode, 'decode', attempt);
    const body = params === undefined ? request.body.text : request.body.with({ kv_transfer_params: params });
    return Leg.send(worker, { path: request.path, body, headers: legHeaders(request, id) });
  }

  #source(scope: RequestScope, { params, watch }: Round, leg: Leg): BodySource {
    if (params === undefined) return leg;
    const source = new HandedOver(leg, this.#graceSeconds, () => {
      this.#handoff(scope, 'released');
      this.#outlive(leg.settled);
    });
    return watch === undefined ? source : new WatchedSource(source, watch);
  }

  /**
   * The client has left before the decode server answered.
   *
   * @throws the reason, always.
   */
  #leave(scope: RequestScope, round: Round, leg?: Leg): never {
    const { reason } = scope.options.signal;
    const { params, watch } = round;
    if (params === undefined) leg?.abort(reason);
    else if (watch === undefined) this.#outlive(this.#handBack(scope, round, leg));
    else this.#outlive(this.#leaveBoth(scope, round, watch, leg));
    throw reason;
  }

  /** Neither leg has answered: which of them may be cut depends on whether prefill still ends. */
  async #leaveBoth(scope: RequestScope, round: Round, watch: PrefillWatch, leg?: Leg): Promise<void> {
    const { reason } = scope.options.signal;
    if (await watch.outlast(this.#prefillGraceSeconds, reason)) return this.#handBack(scope, round, leg);
    leg?.abort(reason);
  }

  /** Delivers KV blocks that nobody wants, so that their server gets them back, and cancels there. */
  async #handBack(scope: RequestScope, round: Round, sent?: Leg): Promise<void> {
    let leg = sent;
    try {
      for (;;) {
        leg ??= this.#decodeLeg(scope, round);
        new HandedOver(leg, this.#graceSeconds, () => undefined).abort(scope.options.signal.reason);
        await leg.settled;
        if (leg.wasSent) return this.#handoff(scope, 'released');
        if (!this.decode.hasFresh(scope.tried.decode)) return this.#handoff(scope, 'lost');
        leg = undefined;
      }
    } catch {
      this.#handoff(scope, 'lost');
    }
  }

  #outlive(work: Promise<void>): void {
    const done = work.finally(() => this.#releasing.delete(done));
    this.#releasing.add(done);
  }

  #handoff(scope: RequestScope, result: 'delivered' | 'null' | 'released' | 'lost'): void {
    scope.options.observer.observe({
      type: 'handoff',
      requestId: scope.request.requestId,
      atUs: this.clock.nowUs(),
      backend: this.name,
      result,
    });
  }

  /** Waits for the legs of clients that left, then ends all connections. */
  override async close(): Promise<void> {
    await Promise.all(this.#releasing);
    await super.close();
  }
}

/** One round of prefill and decode. */
interface Round {
  readonly attempt: number;
  readonly id: string;
  /** What names the KV blocks; undefined when there are none. */
  readonly params: string | undefined;
  /** The prefill leg, where it runs beside. */
  readonly watch?: PrefillWatch;
}

/** The parameters as the prefill server wrote them; undefined when it hands nothing over. */
function transferParams(text: string, worker: Worker): string | undefined {
  const answer = JsonObject.tryParse(text);
  if (answer === undefined) {
    throw upstreamError('bad-answer', worker.name, 'its answer to the prefill request is no JSON object');
  }
  const params = answer.get('kv_transfer_params');
  if (params === undefined || params === null) return undefined;
  if (typeof params !== 'object' || Array.isArray(params)) {
    throw upstreamError('bad-answer', worker.name, 'its kv_transfer_params is no object');
  }
  return answer.raw('kv_transfer_params');
}
