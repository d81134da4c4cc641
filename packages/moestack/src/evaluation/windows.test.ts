import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planWindows } from './windows.js';

describe('planWindows', () => {
  it('reads a short document in one window', () => {
    expect(planWindows(257, 256, 128)).toEqual([{ start: 0, inputs: 256, firstScored: 0 }]);
    expect(planWindows(2, 256, 128)).toEqual([{ start: 0, inputs: 1, firstScored: 0 }]);
    expect(planWindows(1, 256, 128)).toEqual([]);
    expect(planWindows(0, 256, 128)).toEqual([]);
  });

  it('moves on by the stride, and the last window ends with the document', () => {
    expect(planWindows(20, 8, 5)).toEqual([
      { start: 0, inputs: 8, firstScored: 0 },
      { start: 5, inputs: 8, firstScored: 3 },
      { start: 10, inputs: 8, firstScored: 3 },
      { start: 11, inputs: 8, firstScored: 7 },
    ]);
  });

  it('predicts every token but the first once, with as much context as promised', () => {
    const sizes = fc.integer({ min: 1, max: 40 }).chain((context) =>
      fc.record({
        context: fc.constant(context),
        stride: fc.integer({ min: 1, max: context }),
        tokens: fc.integer({ min: 0, max: 200 }),
      }),
    );
    fc.assert(
      fc.property(sizes, ({ context, stride, tokens }) => {
        const predicted: number[] = [];
        planWindows(tokens, context, stride).forEach(({ start, inputs, firstScored }, index) => {
          expect(inputs).toBeLessThanOrEqual(context);
          if (index > 0) expect(firstScored).toBeGreaterThanOrEqual(context - stride);
          for (let i = firstScored; i < inputs; i++) predicted.push(start + i + 1);
        });
        expect(predicted).toEqual(Array.from({ length: Math.max(tokens - 1, 0) }, (_, i) => i + 1));
      }),
      { seed: 11, numRuns: 300 },
    );
  });
});
