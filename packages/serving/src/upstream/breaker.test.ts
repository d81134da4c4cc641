import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Breaker } from './breaker.js';

const timed = () => {
  let nowUs = 0;
  const changes: string[] = [];
  const breaker = new Breaker({
    failures: 3,
    openSeconds: 2,
    clock: { nowUs: () => nowUs, unixSeconds: () => 0 },
    onChange: (from, to) => changes.push(`${from} to ${to}`),
  });
  return { breaker, changes, pass: (seconds: number) => (nowUs += seconds * 1e6) };
};

it('opens after failures in a row, tries once, closes after a success', () => {
  const { breaker, changes, pass } = timed();
  const request = (outcome: 'success' | 'failure' | 'neutral') => {
    breaker.begin();
    breaker[outcome]();
  };
  request('failure');
  request('failure');
  request('success');
  request('failure');
  request('failure');
  expect(breaker.state).toBe('closed');
  request('failure');
  expect([breaker.state, breaker.isReady, breaker.waitSeconds]).toEqual(['open', false, 2]);
  pass(2);
  expect(breaker.isReady).toBe(true);
  breaker.begin();
  expect([breaker.state, breaker.isReady]).toEqual(['half-open', false]);
  breaker.failure();
  expect(breaker.state).toBe('open');
  pass(2);
  breaker.begin();
  breaker.neutral();
  expect([breaker.state, breaker.isReady]).toEqual(['half-open', true]);
  request('success');
  expect(breaker.state).toBe('closed');
  expect(changes).toEqual([
    'closed to open',
    'open to half-open',
    'half-open to open',
    'open to half-open',
    'half-open to closed',
  ]);
});

it('never lets more than one request through until one succeeds, and never stays shut for good', () => {
  const step = fc.oneof(
    fc.constant({ type: 'wait' as const }),
    fc.record({
      type: fc.constant('try' as const),
      outcome: fc.constantFrom('success', 'failure', 'neutral'),
    }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { breaker, pass } = timed();
      for (const one of steps) {
        if (one.type === 'wait') pass(1);
        else if (breaker.isReady) {
          const wasClosed = breaker.state === 'closed';
          breaker.begin();
          if (!wasClosed) expect(breaker.isReady).toBe(false);
          breaker[one.outcome as 'success']();
          if (one.outcome === 'success') expect(breaker.state).toBe('closed');
        }
      }
      pass(2);
      expect(breaker.isReady).toBe(true);
    }),
    { seed: 8, numRuns: 300 },
  );
});
