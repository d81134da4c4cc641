import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { noWorker, upstreamError } from '../errors.js';
import { seededRandom } from '../random.js';
import { type Attempt, type FailedAttempt, retryDelay, withRetries } from './retry.js';

const failed = (
  status: number,
  more: Partial<FailedAttempt> & { retryAfter?: string } = {},
): FailedAttempt => ({
  type: 'failed',
  worker: 'w',
  result: {
    type: 'error',
    status,
    body: '{}',
    code: 'x',
    ...(more.retryAfter !== undefined && { retryAfter: more.retryAfter }),
  },
  hasOther: more.hasOther ?? false,
  ...(more.isInstant !== undefined && { isInstant: more.isInstant }),
});

describe('the wait before a retry', () => {
  const random = seededRandom(1);

  it('is random below a bound that doubles, up to the longest', () => {
    fc.assert(
      fc.property(fc.nat(12), fc.constantFrom(408, 429, 500, 502, 503, 504), (attempt, status) => {
        const delay = retryDelay(failed(status), attempt, {
          options: { baseDelaySeconds: 0.1, maxDelaySeconds: 1 },
          random,
        });
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(Math.min(1, 0.1 * 2 ** attempt));
      }),
      { seed: 13 },
    );
  });

  it('is none for what no retry helps', () => {
    for (const status of [400, 401, 404, 413, 422, 501]) {
      expect(retryDelay(failed(status), 0, { options: {}, random })).toBeUndefined();
    }
  });

  it('honours Retry-After, unless another server can be asked or it is too long', () => {
    const options = { maxDelaySeconds: 3 };
    expect(retryDelay(failed(429, { retryAfter: '2' }), 0, { options, random })).toBe(2);
    expect(retryDelay(failed(429, { retryAfter: '2', hasOther: true }), 0, { options, random })).toBeLessThan(
      0.06,
    );
    expect(retryDelay(failed(429, { retryAfter: '9' }), 0, { options, random })).toBeUndefined();
    expect(
      retryDelay(failed(503, { retryAfter: 'Wed, 21 Oct 2026 07:28:00 GMT' }), 0, { options, random }),
    ).toBeLessThan(0.06);
  });

  it('is zero once after a connection that broke', () => {
    expect(retryDelay(failed(502, { isInstant: true }), 0, { options: {}, random: () => 0.5 })).toBe(0);
    expect(
      retryDelay(failed(502, { isInstant: true }), 1, { options: {}, random: () => 0.5 }),
    ).toBeGreaterThan(0);
  });
});

describe('withRetries', () => {
  const run = (outcomes: Attempt[], maxAttempts = 3) => {
    const seen: number[] = [];
    const retries: number[] = [];
    const answer = withRetries(
      async (attempt) => {
        seen.push(attempt);
        return outcomes[attempt]!;
      },
      {
        options: { maxAttempts, baseDelaySeconds: 0 },
        random: () => 0,
        signal: new AbortController().signal,
        onRetry: (_, attempt) => retries.push(attempt),
      },
    );
    return { answer, seen, retries };
  };
  const good: Attempt = {
    type: 'answer',
    answer: { type: 'error', status: 418, body: 'good', code: 'x' },
  };

  it('ends with the first answer', async () => {
    const { answer, seen, retries } = run([failed(500), failed(429), good]);
    expect(await answer).toMatchObject({ body: 'good' });
    expect([seen, retries]).toEqual([
      [0, 1, 2],
      [1, 2],
    ]);
  });

  it('gives the last failure when tries run out', async () => {
    const { answer } = run([failed(500), failed(503)], 2);
    expect(await answer).toMatchObject({ status: 503 });
    const error = upstreamError('reset', 'w', 'x');
    await expect(run([{ ...failed(502), result: error }], 1).answer).rejects.toBe(error);
  });

  it('does not catch what is final', async () => {
    const error = noWorker('b', 'decode', 1);
    const context = {
      options: {},
      random: () => 0,
      signal: new AbortController().signal,
      onRetry: () => undefined,
    };
    await expect(withRetries(() => Promise.reject(error), context)).rejects.toBe(error);
  });

  it('stops waiting when the client leaves', async () => {
    const client = new AbortController();
    const answer = withRetries(async () => failed(500), {
      options: { baseDelaySeconds: 1000, maxDelaySeconds: 1000 },
      random: () => 1,
      signal: client.signal,
      onRetry: () => client.abort(new Error('left')),
    });
    await expect(answer).rejects.toThrow('left');
  });
});
