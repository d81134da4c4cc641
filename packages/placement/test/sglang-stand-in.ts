import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { TorchTensor, type TorchValue, writeTorchFile } from '../src/interop/index.js';

/** How the stand-in is run. */
export interface StandInOptions {
  /** --expert-distribution-recorder-mode; null: the server was started without it. */
  mode?: 'stat' | 'per_pass' | null;
  ranks?: number;
  apiKey?: string;
  /** Calls to this endpoint are never answered. */
  hangs?: string;
  /** The dump answers before its file is whole. */
  slowFile?: boolean;
  dumpsNothing?: boolean;
}

/**
 * A server with the recorder endpoints of SGLang: any method, states checked as the recorder asserts them, dumps written
 * to a folder.
 */
export class SglangStandIn {
  readonly calls: string[] = [];
  recording = false;
  readonly #options: StandInOptions;
  readonly #directory: string;
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  #passes = 0;
  #dumps = 0;

  constructor(directory: string, options: StandInOptions = {}) {
    this.#directory = directory;
    this.#options = options;
  }

  async listen(): Promise<string> {
    await mkdir(this.#directory, { recursive: true });
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const endpoint = request.url?.replace(/^\//, '') ?? '';
    this.calls.push(`${request.method} ${endpoint}`);
    const { apiKey, hangs, mode = 'stat' } = this.#options;
    if (endpoint === hangs) return;
    if (apiKey !== undefined && request.headers.authorization !== `Bearer ${apiKey}`) {
      response.writeHead(401).end('{"error":"Unauthorized"}');
      return;
    }
    const action = /^(start|stop|dump)_expert_distribution_record$/.exec(endpoint)?.[1];
    if (action === undefined) {
      response.writeHead(404).end('{"detail":"Not Found"}');
      return;
    }
    if (mode === null || (action === 'start' && this.recording) || (action === 'stop' && !this.recording)) {
      response.writeHead(500).end('Internal Server Error');
      return;
    }
    if (action === 'start') this.#passes = 3;
    if (action === 'dump') await this.#dump(mode);
    this.recording = action === 'start' || (action === 'dump' && this.recording);
    response.writeHead(200).end(`${action} expert distribution record.\n`);
  }

  async #dump(mode: 'stat' | 'per_pass'): Promise<void> {
    const { ranks = 1, slowFile = false, dumpsNothing = false } = this.#options;
    if (dumpsNothing) return;
    const time = 1_764_000_000.25 + this.#dumps++;
    if (mode === 'stat') return this.#write(`${time}`, this.#stat(), slowFile);
    for (let rank = 0; rank < ranks; rank++)
      await this.#write(`${time}_${rank}`, this.#detail(rank), slowFile);
  }

  async #write(suffix: string, value: TorchValue, slow: boolean): Promise<void> {
    const path = join(this.#directory, `expert_distribution_recorder_${suffix}.pt`);
    const bytes = writeTorchFile(value, { name: `expert_distribution_recorder_${suffix}` });
    if (!slow) return writeFile(path, bytes);
    await writeFile(path, new Uint8Array(0));
    setTimeout(() => void writeFile(path, bytes), 120);
  }

  /** The buffer whole: 5 steps of which the passes used some, a dense layer of zeros. */
  #stat(): TorchValue {
    const counts = new Int32Array(5 * 3 * 4);
    for (let step = 0; step < this.#passes; step++)
      for (let i = 4; i < 12; i++) counts[((step + 3) % 5) * 12 + i] = i;
    return new Map<TorchValue, TorchValue>([
      ['rank', 0],
      ['logical_count', new TorchTensor('i32', [5, 3, 4], counts)],
      ['average_utilization_rate_over_window', 0.75],
    ]);
  }

  #detail(rank: number): TorchValue {
    const records = Array.from(
      { length: this.#passes },
      (_, pass): TorchValue =>
        new Map<TorchValue, TorchValue>([
          ['forward_pass_id', pass],
          ['rank', rank],
          ['gatherer_key', 'primary'],
          ['global_physical_count', new TorchTensor('i32', [1, 4], Int32Array.of(1, 2, 3, 4))],
        ]),
    );
    return new Map<TorchValue, TorchValue>([
      ['records', records],
      ['last_physical_to_logical_map', new TorchTensor('i64', [1, 4], BigInt64Array.of(0n, 1n, 2n, 0n))],
    ]);
  }
}
