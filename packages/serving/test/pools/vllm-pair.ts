import type { ServerResponse } from 'node:http';
import { type EngineOptions, EngineServer, exactJson, type Seen } from './engine-server.js';

/** KV blocks that wait on the prefill server to be fetched. */
interface Pinned {
  readonly requestId: string;
  readonly params: string;
}

/** What the two servers share: the interconnect between them. */
class Link {
  /** By the name of the blocks. */
  readonly pinned = new Map<string, Pinned>();
  readonly used = new Set<string>();
  /** Requests that were handed nothing over. */
  readonly nulls = new Set<string>();
  nextBlock = 9_007_199_254_740_993n;
}

/** Client bodies by their `tag` field, for comparison. */
export type Expected = Map<string, string>;

class PrefillServer extends EngineServer {
  readonly #link: Link;
  readonly #ids = new Set<string>();

  constructor(link: Link, options: EngineOptions) {
    super(options);
    this.#link = link;
  }

  protected async answer(seen: Seen, response: ServerResponse, closed: AbortSignal): Promise<void> {
    const { body, headers } = seen;
    const id = headers['x-request-id'];
    const params = body['kv_transfer_params'] as Record<string, unknown> | undefined;
    if (typeof id !== 'string') return this.reject(response, 'no X-Request-Id on the prefill leg');
    if (this.#ids.has(id)) return this.reject(response, `the request id ${id} was used twice`);
    this.#ids.add(id);
    if (body['max_tokens'] !== 1) return this.reject(response, 'max_tokens is not 1');
    if ('max_completion_tokens' in body && body['max_completion_tokens'] !== 1) {
      return this.reject(response, 'max_completion_tokens is not 1');
    }
    if (body['stream'] !== false) return this.reject(response, 'the prefill leg streams');
    for (const field of ['stream_options', 'min_tokens', 'min_completion_tokens', 'stop', 'stop_token_ids']) {
      if (field in body) return this.reject(response, `${field} on the prefill leg`);
    }
    if ((body['n'] ?? 1) !== 1) return this.reject(response, 'n is not 1 on the prefill leg');
    if (Array.isArray(body['prompt']) && body['prompt'].length > 1 && typeof body['prompt'][0] !== 'number') {
      return this.reject(response, 'several prompts on one prefill leg');
    }
    if (body['ignore_eos'] !== true) return this.reject(response, 'ignore_eos is not set');
    const asked = JSON.stringify(params);
    if (
      asked !==
      '{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}'
    ) {
      return this.reject(response, `kv_transfer_params of the prefill leg are ${asked}`);
    }
    const fault = this.nextFault(seen);
    await this.pause(closed, 3);
    // An abort before the answer frees the blocks.
    if (closed.aborted) return;
    if (this.fails(fault, response)) return;
    let handed = 'null';
    if (fault === 'null-handoff') this.#link.nulls.add(id);
    else {
      const block = this.#link.nextBlock++;
      handed = `{ "do_remote_prefill":true, "do_remote_decode":false,"remote_block_ids":[[${block},1],[2]],"remote_engine_id":"engine-p","remote_request_id":"chatcmpl-${id}","remote_host":"10.1.2.3","remote_port":5600,"tp_size":1,"x_lease":{"until":18446744073709551615,"share":1.0}}`;
      this.#link.pinned.set(String(block), { requestId: id, params: handed });
    }
    const choice =
      seen.path === '/v1/chat/completions'
        ? '{"index":0,"message":{"role":"assistant","content":"x \\" kv_transfer_params\\": {"},"finish_reason":"length"}'
        : '{"index":0,"text":"\\"kv_transfer_params\\":1","finish_reason":"length"}';
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      `{"id":"cmpl-${id}","choices":[${choice}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4},"kv_transfer_params":${handed}}`,
    );
  }
}

class DecodeServer extends EngineServer {
  readonly #link: Link;
  readonly #expected: Expected;

  constructor(link: Link, expected: Expected, options: EngineOptions) {
    super(options);
    this.#link = link;
    this.#expected = expected;
  }

  protected async answer(seen: Seen, response: ServerResponse, closed: AbortSignal): Promise<void> {
    const { text, body, headers } = seen;
    const id = String(headers['x-request-id']);
    const exact = exactJson(text) as Record<string, unknown>;
    const params = exact['kv_transfer_params'] as { remote_block_ids?: string[][] } | undefined;
    if (params === undefined) {
      if (!this.#link.nulls.has(id)) return this.reject(response, 'decode without kv_transfer_params');
    } else {
      const block = String(params.remote_block_ids?.[0]?.[0]).slice(1);
      const pinned = this.#link.pinned.get(block);
      if (this.#link.used.has(block)) return this.reject(response, 'kv_transfer_params were used twice');
      if (pinned === undefined) return this.reject(response, `no such blocks: ${block}`);
      if (!text.includes(`"kv_transfer_params":${pinned.params}`)) {
        return this.reject(response, 'kv_transfer_params are not what the prefill server wrote');
      }
      if (pinned.requestId !== id) return this.reject(response, 'the legs have different request ids');
      this.#link.used.add(block);
      // Admission: the blocks are fetched and freed over there.
      this.#link.pinned.delete(block);
    }
    delete exact['kv_transfer_params'];
    const expected = this.#expected.get(String(body['tag']));
    if (expected !== undefined && JSON.stringify(exact) !== JSON.stringify(exactJson(expected))) {
      return this.reject(response, `the body is not the client's: ${text}`);
    }
    const fault = this.nextFault(seen);
    if (this.fails(fault, response)) return;
    await this.gate('admitted', closed);
    await this.pause(closed, 2);
    if (closed.aborted) return;
    await this.generate(seen, response, closed, fault);
  }
}

/** A prefill and a decode server of vLLM with the NIXL connector. */
export class VllmPair {
  readonly expected: Expected = new Map();
  readonly #link = new Link();
  readonly prefill: PrefillServer;
  readonly decode: DecodeServer;

  constructor(options: EngineOptions = {}) {
    this.prefill = new PrefillServer(this.#link, options);
    this.decode = new DecodeServer(this.#link, this.expected, options);
  }

  async start(): Promise<this> {
    await Promise.all([this.prefill.start(), this.decode.start()]);
    return this;
  }

  async stop(): Promise<void> {
    await Promise.all([this.prefill.stop(), this.decode.stop()]);
  }

  /** Ids of the requests whose blocks nobody has fetched. */
  get pinnedIds(): string[] {
    return [...this.#link.pinned.values()].map((entry) => entry.requestId);
  }

  /** How many they are. */
  get pinned(): number {
    return this.#link.pinned.size;
  }

  get violations(): readonly string[] {
    return [...this.prefill.violations, ...this.decode.violations];
  }

  get running(): number {
    return this.prefill.running + this.decode.running;
  }
}
