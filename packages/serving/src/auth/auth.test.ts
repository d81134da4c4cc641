import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ServingError } from '../errors.js';
import { Admission } from './admission.js';
import { ApiKeys, hashApiKey } from './api-keys.js';
import { Limiter } from './limiter.js';
import { TokenBucket } from './token-bucket.js';

const timed = () => {
  let nowUs = 0;
  return {
    clock: { nowUs: () => nowUs, unixSeconds: () => Math.floor(nowUs / 1e6) },
    pass: (seconds: number) => (nowUs += seconds * 1e6),
  };
};
const failure = (run: () => unknown): ServingError => {
  try {
    run();
  } catch (error) {
    if (ServingError.isInstance(error)) return error;
  }
  throw new Error('it did not fail as it should');
};
const used = (tokens: number) => ({ promptTokens: tokens, completionTokens: 0 });

describe('API keys', () => {
  const keys = new ApiKeys([
    { id: 'a', sha256: hashApiKey('secret') },
    { id: 'b', sha256: hashApiKey('other'), models: ['m'] },
  ]);

  it('are found by what they hash to', () => {
    expect(keys.authenticate('Bearer secret').id).toBe('a');
    expect(keys.authenticate('bearer  other ').id).toBe('b');
  });

  it.each([
    undefined,
    '',
    'secret',
    'Bearer',
    'Bearer ',
    'Basic secret',
    'Bearer secre',
    'Bearer secret x',
    `Bearer ${'x'.repeat(5000)}`,
  ])('refuses %j', (header) => {
    expect(failure(() => keys.authenticate(header))).toMatchObject({
      status: 401,
      openAiCode: 'invalid_api_key',
    });
  });

  it('must be digests and occur once', () => {
    expect(failure(() => new ApiKeys([{ id: 'a', sha256: 'secret' }])).code).toBe('serving/bad-key');
    const twice = { sha256: hashApiKey('x') };
    expect(
      failure(
        () =>
          new ApiKeys([
            { id: 'a', ...twice },
            { id: 'b', ...twice },
          ]),
      ).code,
    ).toBe('serving/bad-key');
  });

  it('name the models they are for', () => {
    const { clock } = timed();
    const admission = new Admission({ keys: [{ id: 'b', sha256: hashApiKey('k'), models: ['m'] }], clock });
    const visitor = admission.visitor('Bearer k');
    visitor.admit('m', 1);
    expect(failure(() => visitor.admit('n', 1))).toMatchObject({ status: 403, param: 'model' });
  });
});

describe('a token bucket', () => {
  it('never gives more in any stretch of time than a minute ahead plus what fills meanwhile', () => {
    const steps = fc.array(fc.record({ wait: fc.nat(90), want: fc.integer({ min: 1, max: 40 }) }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), steps, (perMinute, list) => {
        const { clock, pass } = timed();
        const bucket = new TokenBucket(perMinute, clock);
        let seconds = 0;
        let taken = 0;
        for (const { wait, want } of list) {
          pass(wait);
          seconds += wait;
          if (bucket.waitSeconds(want) > 0 || want > perMinute) continue;
          bucket.spend(want);
          taken += want;
          expect(taken).toBeLessThanOrEqual(perMinute + (perMinute * seconds) / 60 + 1e-6);
        }
      }),
      { seed: 9, numRuns: 200 },
    );
  });

  it('opens after the wait it names', () => {
    const { clock, pass } = timed();
    const bucket = new TokenBucket(60, clock);
    bucket.spend(90);
    expect(bucket.waitSeconds(1)).toBeCloseTo(31);
    pass(31);
    expect(bucket.waitSeconds(1)).toBe(0);
  });
});

describe('limits', () => {
  it('hold requests a minute, with the time to wait', () => {
    const { clock, pass } = timed();
    const limiter = new Limiter('the key', { requestsPerMinute: 2 }, clock);
    limiter.admit(0);
    limiter.admit(0);
    expect(failure(() => limiter.admit(0))).toMatchObject({ status: 429, retryAfterSeconds: 30 });
    pass(30);
    limiter.admit(0);
  });

  it('hold requests at once until they are settled, once each', () => {
    const { clock } = timed();
    const limiter = new Limiter('the key', { maxConcurrent: 1 }, clock);
    const lease = limiter.admit(0);
    expect(failure(() => limiter.admit(0)).status).toBe(429);
    lease.settle(undefined);
    lease.settle(undefined);
    limiter.admit(0);
    expect(failure(() => limiter.admit(0)).status).toBe(429);
  });

  it('count what was used, not what was estimated', () => {
    const { clock, pass } = timed();
    const limiter = new Limiter('the key', { tokensPerMinute: 100 }, clock);
    limiter.admit(10).settle(used(160));
    expect(failure(() => limiter.admit(1)).retryAfterSeconds).toBe(37);
    pass(37);
    limiter.admit(1).settle(used(0));
  });

  it('let a prompt longer than a minute in when nothing was used', () => {
    const { clock } = timed();
    const limiter = new Limiter('the key', { tokensPerMinute: 100 }, clock);
    limiter.admit(5000);
    expect(failure(() => limiter.admit(1)).status).toBe(429);
  });

  it('renew the quota at midnight', () => {
    const { clock, pass } = timed();
    pass(86_400 - 600);
    const limiter = new Limiter('the key', { tokensPerDay: 100 }, clock);
    limiter.admit(0).settle(used(95));
    expect(failure(() => limiter.admit(10))).toMatchObject({
      openAiCode: 'insufficient_quota',
      retryAfterSeconds: 600,
    });
    pass(600);
    limiter.admit(10);
  });

  it('count nothing of a request that one of them refuses', () => {
    const { clock } = timed();
    const admission = new Admission({
      keys: [{ id: 'a', sha256: hashApiKey('k'), limits: { requestsPerMinute: 3 } }],
      limits: { maxConcurrent: 1 },
      clock,
    });
    const visitor = admission.visitor('Bearer k');
    const lease = visitor.admit('m', 0);
    for (let n = 0; n < 2; n++) expect(failure(() => visitor.admit('m', 0)).message).toContain('this server');
    lease.settle(undefined);
    visitor.admit('m', 0).settle(undefined);
    visitor.admit('m', 0).settle(undefined);
    expect(failure(() => visitor.admit('m', 0)).message).toContain('API key a');
  });
});
