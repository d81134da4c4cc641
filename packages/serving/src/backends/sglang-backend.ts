import { randomBytes } from 'node:crypto';
import { ServingError, upstreamError } from '../errors.js';
import type { JsonObject } from '../json/json-object.js';
import { Leg } from '../upstream/leg.js';
import type { Worker } from '../upstream/worker.js';
import { countItems, isPromptList } from './fan-out.js';
import { PairBackend, type PairBackendOptions } from './pair-backend.js';
import { legHeaders, type RequestScope } from './pool-backend.js';
import { firstOf, type PrefillFailure, PrefillWatch, WatchedSource } from './prefill-watch.js';
import { asServingError, bodyAnswer, errorAnswer, isSuccess } from './read-answer.js';
import type { Attempt } from './retry.js';

/** Options of {@link SglangBackend}. */
export interface SglangBackendOptions extends PairBackendOptions {
  /** Draws 63 random bits; default: the system's generator. */
  readonly randomRoom?: () => bigint;
}

/**
 * SGLang with prefill and decode on different servers: both get the same body at once, with the prefill server's
 * bootstrap address and a room of its own for every prompt and choice.
 */
export class SglangBackend extends PairBackend {
  readonly #randomRoom: () => bigint;

  constructor(options: SglangBackendOptions) {
    super(options);
    this.#randomRoom = options.randomRoom ?? (() => randomBytes(8).readBigUInt64BE() >> 1n);
  }

  protected async attempt(scope: RequestScope, attempt: number): Promise<Attempt> {
    const { request, options } = scope;
    const { signal } = options;
    const prefill = this.pick(scope, this.prefill, 'prefill', attempt);
    const decode = this.pick(scope, this.decode, 'decode', attempt);
    const body = request.body.with(this.#bootstrap(prefill, request.body));
    const id = attempt === 0 ? request.requestId : `${request.requestId}-r${attempt}`;
    const leg = { path: request.path, body, headers: legHeaders(request, id) };
    const watch = new PrefillWatch(Leg.send(prefill, leg), badGateway);
    const decodeLeg = Leg.send(decode, leg);
    const outcome = await firstOf(decodeLeg, signal, watch);
    switch (outcome.type) {
      case 'head': {
        if (isSuccess(outcome.head)) {
          const source = new WatchedSource(decodeLeg, watch);
          return { type: 'answer', answer: bodyAnswer(outcome.head, source) };
        }
        const result = await errorAnswer(decodeLeg, outcome.head);
        watch.abort(result);
        if (signal.aborted) throw signal.reason;
        return this.failed(scope, decode, result, { pool: this.decode, role: 'decode' });
      }
      case 'left':
        watch.abort(signal.reason);
        decodeLeg.abort(signal.reason);
        throw signal.reason;
      case 'prefill':
        decodeLeg.abort(outcome.failure);
        return this.failed(scope, prefill, outcome.failure, { pool: this.prefill, role: 'prefill' });
      case 'error': {
        // Its room would wait for a decode server that never comes.
        watch.abort(outcome.error);
        const result = asServingError(outcome.error, decode.name);
        return this.failed(scope, decode, result, { pool: this.decode, role: 'decode' });
      }
    }
  }

  /** Members to add: lists of a value an item for lists of prompts and for several choices, else single values. */
  #bootstrap(worker: Worker, request: JsonObject): Record<string, string> {
    const items = countItems(request);
    const host = JSON.stringify(worker.bootstrapHost);
    const port = String(worker.bootstrapPort);
    const rooms = Array.from({ length: items }, () => this.#room(worker));
    if (items === 1 && !isPromptList(request))
      return { bootstrap_host: host, bootstrap_port: port, bootstrap_room: rooms[0]! };
    const list = (value: string) => `[${Array.from({ length: items }, () => value).join(',')}]`;
    return { bootstrap_host: list(host), bootstrap_port: list(port), bootstrap_room: `[${rooms.join(',')}]` };
  }

  /** A room whose remainder is the data-parallel rank that is to compute the prompt. */
  #room(worker: Worker): string {
    const ranks = BigInt(worker.dataParallelRanks);
    const room = this.#randomRoom();
    if (ranks === 1n) return room.toString();
    const pinned = room - (room % ranks) + BigInt(worker.takeRank());
    return (pinned >= 1n << 63n ? pinned - ranks : pinned).toString();
  }
}

/** A prefill server's own fault is 502, whatever it said; a fault of the request keeps its status. */
function badGateway(failure: PrefillFailure, worker: Worker): PrefillFailure {
  if (ServingError.isInstance(failure)) return failure;
  if (failure.status < 500 && failure.status !== 408 && failure.status !== 429) return failure;
  return upstreamError(
    'failed',
    worker.name,
    `it answered the prefill request with status ${failure.status}`,
  );
}
