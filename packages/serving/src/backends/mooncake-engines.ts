import { z } from 'zod';
import { upstreamError } from '../errors.js';
import { Worker } from '../upstream/worker.js';

/** Answer of a bootstrap server to `GET /query`: what serves each data-parallel rank. */
const BootstrapAnswer = z.record(
  z.string().regex(/^\d{1,6}$/),
  z.looseObject({ engine_id: z.string().min(1).max(512) }),
);

const timeoutMs = 2000;
const maxAnswerBytes = 4 * 1024 * 1024;

/** Engine ids of prefill servers, asked once from their bootstrap servers. */
export class MooncakeEngines {
  readonly #engines = new Map<Worker, Promise<ReadonlyMap<number, string>>>();

  /** Asks again at the next request. */
  forget(worker: Worker): void {
    this.#engines.delete(worker);
  }

  /**
   * Parameters of the decode leg.
   *
   * @throws {@link ServingError} when the bootstrap server does not know the rank or does not answer.
   */
  async params(worker: Worker, rank: number, id: string): Promise<string> {
    const address = `http://${worker.bootstrapHost}:${worker.bootstrapPort ?? 8998}`;
    let engines = this.#engines.get(worker);
    if (engines === undefined) {
      engines = ask(address, worker.name);
      this.#engines.set(worker, engines);
      engines.catch(() => this.forget(worker));
    }
    const engine = (await engines).get(rank);
    if (engine === undefined) {
      this.forget(worker);
      throw upstreamError('bad-answer', worker.name, `its bootstrap server knows no engine of rank ${rank}`);
    }
    return `{"do_remote_decode":false,"do_remote_prefill":true,"remote_bootstrap_addr":${JSON.stringify(address)},"remote_engine_id":${JSON.stringify(engine)},"transfer_id":"xfer-${id}"}`;
  }
}

async function ask(address: string, name: string): Promise<ReadonlyMap<number, string>> {
  const server = new Worker({ url: address, name });
  try {
    const { statusCode, body } = await server.connections.request({
      path: '/query',
      method: 'GET',
      signal: AbortSignal.timeout(timeoutMs),
    });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body) {
      size += (chunk as Buffer).byteLength;
      if (size > maxAnswerBytes) throw new Error('the answer is too long');
      chunks.push(chunk as Buffer);
    }
    if (statusCode !== 200) throw new Error(`status ${statusCode}`);
    const answer = BootstrapAnswer.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')));
    return new Map(Object.entries(answer).map(([rank, entry]) => [Number(rank), entry.engine_id]));
  } catch (cause) {
    throw upstreamError('bad-answer', name, 'its bootstrap server cannot be asked for engine ids', cause);
  } finally {
    await server.close();
  }
}
