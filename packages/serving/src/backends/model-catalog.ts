import { z } from 'zod';
import type { ServedModel } from '../backend.js';
import type { Clock } from '../clock.js';
import { upstreamError } from '../errors.js';
import type { WorkerPool } from '../upstream/worker-pool.js';

const ModelListOfOthers = z.looseObject({
  data: z.array(
    z.looseObject({
      id: z.string(),
      owned_by: z.string().optional(),
      max_model_len: z.int().nullish(),
    }),
  ),
});

const freshSeconds = 30;
const timeoutMs = 5000;
const maxListBytes = 4 * 1024 * 1024;

/** What the servers of a pool say they serve, asked again when it is older than 30 s. */
export class ModelCatalog {
  readonly #pool: WorkerPool;
  readonly #clock: Clock;
  #cards: readonly ServedModel[] | undefined;
  #askedUs = 0;
  #asking: Promise<readonly ServedModel[]> | undefined;

  constructor(pool: WorkerPool, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
  }

  /** Undefined until a server has answered; that question is asked by the way. */
  serves(model: string): boolean | undefined {
    if (!this.#isFresh) void this.cards().catch(() => undefined);
    return this.#cards?.some((card) => card.id === model);
  }

  /** @throws {@link ServingError} when no server can say. */
  async cards(): Promise<readonly ServedModel[]> {
    if (this.#isFresh) return this.#cards!;
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    try {
      return await this.#asking;
    } catch (error) {
      if (this.#cards !== undefined) return this.#cards;
      throw error;
    }
  }

  get #isFresh(): boolean {
    return this.#cards !== undefined && this.#clock.nowUs() - this.#askedUs < freshSeconds * 1e6;
  }

  async #ask(): Promise<readonly ServedModel[]> {
    const worker = this.#pool.pick({ prompt: '' });
    try {
      const { statusCode, body } = await worker.connections.request({
        path: `${worker.pathPrefix}/v1/models`,
        method: 'GET',
        signal: AbortSignal.timeout(timeoutMs),
        ...(worker.authorization !== undefined && { headers: { authorization: worker.authorization } }),
      });
      if (statusCode !== 200) {
        await body.dump();
        throw upstreamError('failed', worker.name, `its list of models has status ${statusCode}`);
      }
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of body) {
        size += (chunk as Buffer).byteLength;
        if (size > maxListBytes)
          throw upstreamError('too-large', worker.name, 'its list of models is too long');
        chunks.push(chunk as Buffer);
      }
      const list = ModelListOfOthers.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      this.#cards = list.data.map((model) => ({
        id: model.id,
        ...(model.owned_by !== undefined && { ownedBy: model.owned_by }),
        ...(typeof model.max_model_len === 'number' && { contextTokens: model.max_model_len }),
      }));
      this.#askedUs = this.#clock.nowUs();
      return this.#cards;
    } catch (cause) {
      throw upstreamError('bad-answer', worker.name, 'its list of models cannot be read', cause);
    }
  }
}
