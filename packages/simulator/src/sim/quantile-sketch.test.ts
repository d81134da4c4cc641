import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventQueue } from './event-queue.js';
import { QuantileSketch } from './quantile-sketch.js';

describe('QuantileSketch', () => {
  it('is within 0.5 % of the order statistic, whatever the values', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 300 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (values, q) => {
          const sketch = new QuantileSketch();
          for (const value of values) sketch.add(value);
          const sorted = [...values].sort((a, b) => a - b);
          const exact = sorted[Math.floor(q * (sorted.length - 1))]!;
          expect(Math.abs(sketch.quantile(q) / exact - 1)).toBeLessThan(0.00501);
        },
      ),
      { seed: 7, numRuns: 300 },
    );
  });

  it('knows count, mean, maximum and zeros', () => {
    const sketch = new QuantileSketch();
    expect(sketch.quantile(0.5)).toBe(0);
    for (const value of [0, 0, 3]) sketch.add(value);
    expect([sketch.count, sketch.mean, sketch.maximum]).toEqual([3, 1, 3]);
    expect(sketch.quantile(0.5)).toBe(0);
    expect(sketch.quantile(1)).toBe(3);
  });
});

describe('EventQueue', () => {
  it('gives events by time, then by number', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 50 })), {
          maxLength: 200,
        }),
        (events) => {
          const queue = new EventQueue();
          for (const [time, id] of events) queue.push(time, id);
          const popped: [number, number][] = [];
          while (queue.size > 0) {
            const time = queue.nextTime;
            popped.push([time, queue.pop()]);
          }
          expect(popped).toEqual([...events].sort((a, b) => a[0] - b[0] || a[1] - b[1]));
          expect(queue.nextTime).toBe(Number.POSITIVE_INFINITY);
        },
      ),
      { seed: 9, numRuns: 200 },
    );
  });
});
