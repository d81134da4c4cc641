import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type EngineOptions, EngineServer, exactJson, type Seen } from './engine-server.js';

/** Transfers that prefill has offered and decode has not fetched, or the other way round. */
class Transfers {
  readonly offered = new Map<string, () => void>();
  readonly waiting = new Map<string, () => void>();
  /** Pulled by decode once prefill offers it; resolves for both. */
  async offer(id: string): Promise<void> {
    const puller = this.waiting.get(id);
    if (puller !== undefined) {
      this.waiting.delete(id);
      puller();
      return;
    }
    this.offered.set(id, () => undefined);
  }

  pull(id: string, closed: AbortSignal): Promise<void> {
    if (this.offered.delete(id)) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.waiting.delete(id);
        resolve();
      };
      this.waiting.set(id, done);
      closed.addEventListener('abort', done);
    });
  }
}

class Prefill extends EngineServer {
  readonly #transfers: Transfers;
  readonly #legacy: boolean;
  readonly #ids = new Set<string>();

  constructor(transfers: Transfers, options: EngineOptions, legacy: boolean) {
    super(options);
    this.#transfers = transfers;
    this.#legacy = legacy;
  }

  protected async answer(seen: Seen, response: ServerResponse, closed: AbortSignal): Promise<void> {
    const id = String(seen.headers['x-request-id']);
    if (this.#ids.has(id)) return this.reject(response, `the request id ${id} was used twice`);
    this.#ids.add(id);
    const params = JSON.stringify(seen.body['kv_transfer_params']);
    const transfer = this.#legacy ? '' : `,"transfer_id":"xfer-${id}"`;
    if (params !== `{"do_remote_decode":true,"do_remote_prefill":false${transfer}}`) {
      return this.reject(response, `kv_transfer_params of the prefill leg are ${params}`);
    }
    if (seen.body['max_tokens'] !== 1 || seen.body['stream'] !== false || 'stream_options' in seen.body) {
      return this.reject(response, 'the prefill leg is no prefill');
    }
    if (!/^\d+$/.test(String(seen.headers['x-data-parallel-rank']))) {
      return this.reject(response, 'no X-data-parallel-rank on the prefill leg');
    }
    const fault = this.nextFault(seen);
    await this.pause(closed, 3);
    // An abort before the answer frees the blocks.
    if (closed.aborted) return;
    if (this.fails(fault, response)) return;
    await this.#transfers.offer(id);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end('{"choices":[],"kv_transfer_params":null}');
  }
}

class Decode extends EngineServer {
  readonly #transfers: Transfers;
  readonly #wanted: (id: string) => object;

  constructor(transfers: Transfers, options: EngineOptions, wanted: (id: string) => object) {
    super(options);
    this.#transfers = transfers;
    this.#wanted = wanted;
  }

  protected async answer(seen: Seen, response: ServerResponse, closed: AbortSignal): Promise<void> {
    const id = String(seen.headers['x-request-id']);
    const exact = exactJson(seen.text) as Record<string, unknown>;
    const wanted = exactJson(JSON.stringify(this.#wanted(id)));
    if (JSON.stringify(exact['kv_transfer_params']) !== JSON.stringify(wanted)) {
      return this.reject(response, `kv_transfer_params of the decode leg are ${seen.text}`);
    }
    const fault = this.nextFault(seen);
    await this.#transfers.pull(id, closed);
    if (closed.aborted) return;
    // The blocks have been fetched: what fails from here on pins none.
    if (this.fails(fault, response)) return;
    await this.generate(seen, response, closed, fault);
  }
}

/** A prefill server with its bootstrap server, and a decode server, of vLLM with the Mooncake connector. */
export class MooncakePair {
  readonly #transfers = new Transfers();
  readonly prefill: Prefill;
  readonly decode: Decode;
  readonly #bootstrap: Server;
  queries = 0;
  bootstrapPort = 0;

  constructor(options: EngineOptions = {}, legacy = false) {
    this.prefill = new Prefill(this.#transfers, options, legacy);
    this.decode = new Decode(this.#transfers, options, (id) =>
      legacy
        ? {
            do_remote_decode: false,
            do_remote_prefill: true,
            bootstrap_server_host: '127.0.0.1',
            bootstrap_server_port: this.bootstrapPort,
          }
        : {
            do_remote_decode: false,
            do_remote_prefill: true,
            remote_bootstrap_addr: `http://127.0.0.1:${this.bootstrapPort}`,
            remote_engine_id: 'engine-of-rank-0',
            transfer_id: `xfer-${id}`,
          },
    );
    this.#bootstrap = createServer((request, response) => {
      this.queries += 1;
      response.setHeader('content-type', 'application/json');
      if (request.url !== '/query') response.statusCode = 404;
      response.end(
        '{"0":{"engine_id":"engine-of-rank-0","worker_addr":{}},"1":{"engine_id":"engine-of-rank-1"}}',
      );
    });
  }

  async start(): Promise<this> {
    await Promise.all([
      this.prefill.start(),
      this.decode.start(),
      new Promise<void>((resolve) => this.#bootstrap.listen(0, '127.0.0.1', resolve)),
    ]);
    this.bootstrapPort = (this.#bootstrap.address() as AddressInfo).port;
    return this;
  }

  async stop(): Promise<void> {
    this.#bootstrap.closeAllConnections();
    await Promise.all([
      this.prefill.stop(),
      this.decode.stop(),
      new Promise((resolve) => this.#bootstrap.close(resolve)),
    ]);
  }

  /** Transfers that one side waits for. */
  get openTransfers(): number {
    return this.#transfers.offered.size + this.#transfers.waiting.size;
  }

  get running(): number {
    return this.prefill.running + this.decode.running;
  }

  get violations(): readonly string[] {
    return [...this.prefill.violations, ...this.decode.violations];
  }
}
