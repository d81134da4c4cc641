import { createHash, timingSafeEqual } from 'node:crypto';
import { ServingError } from '../errors.js';

/** Limits of one key, or of all clients together. */
export interface Limits {
  readonly requestsPerMinute?: number;
  /** Prompt and completion tokens. */
  readonly tokensPerMinute?: number;
  /** Renewed at 00:00 UTC. */
  readonly tokensPerDay?: number;
  /** Requests in flight. */
  readonly maxConcurrent?: number;
}

/** A key that clients may show. */
export interface ApiKey {
  /** Name in logs and metrics. */
  readonly id: string;
  /** SHA-256 of the key, hexadecimal. */
  readonly sha256: string;
  /** Default: all. */
  readonly models?: readonly string[];
  /** Share of an embedded engine's tokens when it is saturated, relative to the other keys; default 1. */
  readonly weight?: number;
  readonly limits?: Limits;
}

/** SHA-256 of a key as {@link ApiKey} holds it. */
export function hashApiKey(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

/** Longest key that is hashed. */
const maxKeyLength = 4096;

/** The keys of a server. */
export class ApiKeys {
  readonly #byDigest = new Map<string, ApiKey>();

  /** @throws {@link ServingError} `serving/bad-key` for a digest that is none or occurs twice, or a weight that is no share. */
  constructor(keys: readonly ApiKey[]) {
    const ids = new Set<string>();
    for (const key of keys) {
      if (!/^[0-9a-f]{64}$/.test(key.sha256))
        throw badKey(key.id, 'expected 64 hexadecimal digits for sha256');
      if (key.weight !== undefined && !(key.weight > 0 && Number.isFinite(key.weight)))
        throw badKey(key.id, `expected a weight above 0, got ${key.weight}`);
      if (this.#byDigest.has(key.sha256) || ids.has(key.id))
        throw badKey(key.id, 'the key or its id occurs twice');
      ids.add(key.id);
      this.#byDigest.set(key.sha256, key);
    }
  }

  /**
   * The key that a request shows.
   *
   * Keys are found by their digest, which nobody can steer byte by byte, and compared in constant time.
   *
   * @param authorization - value of the header `Authorization`.
   * @throws {@link ServingError} 401.
   */
  authenticate(authorization: string | undefined): ApiKey {
    const shown = /^Bearer[ ]+(\S+)[ ]*$/i.exec(authorization ?? '')?.[1];
    if (shown === undefined || shown.length > maxKeyLength) {
      throw unauthorized(shown === undefined ? 'the request shows no API key' : 'the API key is too long');
    }
    const digest = hashApiKey(shown);
    const key = this.#byDigest.get(digest);
    if (key === undefined || !timingSafeEqual(Buffer.from(key.sha256), Buffer.from(digest))) {
      throw unauthorized('the API key is not known here');
    }
    return key;
  }
}

/** @throws {@link ServingError} 403 when the key is not for that model. */
export function requireModel(key: ApiKey | undefined, model: string): void {
  if (key?.models === undefined || key.models.includes(model)) return;
  throw new ServingError({
    code: 'serving/model-not-allowed',
    openAiCode: 'model_not_allowed',
    message: `the API key ${key.id} may not use the model ${JSON.stringify(model.slice(0, 120))}`,
    remedy: `use one of: ${key.models.join(', ')}`,
    param: 'model',
    status: 403,
  });
}

function unauthorized(message: string): ServingError {
  return new ServingError({
    code: 'serving/unauthorized',
    openAiCode: 'invalid_api_key',
    message,
    remedy: 'send the header authorization: Bearer KEY',
    status: 401,
  });
}

function badKey(id: string, message: string): ServingError {
  return new ServingError({
    code: 'serving/bad-key',
    message: `the API key ${JSON.stringify(id)} cannot be used: ${message}`,
    remedy: 'correct it; printf %s KEY | sha256sum makes a digest',
    value: id,
  });
}
