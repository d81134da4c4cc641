import { describe, expect, it } from 'vitest';
import { OVERLAP_TOKENS, OverlapChoice } from './overlap-choice.js';

/** Runs steps of one size; `times` says what one batch takes, the order of the step's kind, and the prefill order of a decode step. Returns the choices. */
function run(
  choice: OverlapChoice,
  steps: number,
  size: { mostTokens: number; sequences: number },
  times: { one: number; two: number; waitShare: number; other?: number },
): string[] {
  return Array.from({ length: steps }, () => {
    const chosen = choice.choose({ ...size, tokens: size.mostTokens * 2 });
    const isOther = chosen === 'prefill' && size.mostTokens <= size.sequences;
    const two = isOther ? (times.other ?? times.two) : times.two;
    choice.observe(chosen === 'none' ? times.one : two, times.waitShare);
    return chosen;
  });
}

const prefill = { mostTokens: 64, sequences: 2 };
const decode = { mostTokens: 16, sequences: 32 };

describe('OverlapChoice', () => {
  it('keeps to one batch where nobody waits', () => {
    const choices = run(new OverlapChoice(), 300, prefill, { one: 1, two: 0.5, waitShare: 0.05 });
    expect(new Set(choices)).toEqual(new Set(['none']));
  });

  it.each([
    { size: prefill, kind: 'prefill' },
    { size: decode, kind: 'decode' },
  ])('takes two micro-batches where they are faster, in the order of $kind', ({ size, kind }) => {
    const times = { one: 1, two: 0.7, other: 0.8, waitShare: 0.4 };
    const choices = run(new OverlapChoice(), 200, size, times);
    expect(choices.slice(0, 6)).toEqual(['none', 'none', 'none', kind, kind, kind]);
    expect(choices.slice(9, 50)).toEqual(Array.from({ length: 41 }, () => kind));
    // It looks back now and then: load changes.
    expect(choices.filter((chosen) => chosen === 'none').length).toBeLessThanOrEqual(7);
  });

  it('takes the prefill order for a decode step where that hides more', () => {
    const times = { one: 1, two: 0.9, other: 0.7, waitShare: 0.4 };
    const choices = run(new OverlapChoice(), 300, decode, times);
    expect(choices.slice(3, 6)).toEqual(['decode', 'decode', 'decode']);
    expect(choices.slice(6, 50)).toEqual(Array.from({ length: 44 }, () => 'prefill'));
    // Each of the others is looked at now and then.
    const later = choices.slice(50).filter((chosen) => chosen !== 'prefill');
    expect(new Set(later)).toEqual(new Set(['none', 'decode']));
    expect(later.length).toBeLessThanOrEqual(5);
  });

  it('goes back where they are slower, and costs less than one step in twenty', () => {
    const times = { one: 1, two: 1.2, waitShare: 0.3 };
    const choices = run(new OverlapChoice(), 200, prefill, times);
    const total = choices.reduce((sum, chosen) => sum + (chosen === 'none' ? times.one : times.two), 0);
    expect(total).toBeLessThanOrEqual(1.05 * 200);
    expect(choices.slice(6, 50)).toEqual(Array.from({ length: 44 }, () => 'none'));
  });

  it('follows a network that becomes slow', () => {
    const choice = new OverlapChoice();
    run(choice, 100, prefill, { one: 1, two: 1.2, waitShare: 0.2 });
    const choices = run(choice, 300, prefill, { one: 2, two: 1.3, waitShare: 0.5 });
    expect(choices.at(-2)).toBe('prefill');
  });

  it('decides for each size by itself', () => {
    const choice = new OverlapChoice();
    run(choice, 20, prefill, { one: 1, two: 0.7, waitShare: 0.4 });
    run(choice, 20, { mostTokens: 256, sequences: 2 }, { one: 1, two: 1.1, waitShare: 0.4 });
    expect(run(choice, 1, prefill, { one: 1, two: 0.7, waitShare: 0.4 })).toEqual(['prefill']);
    expect(run(choice, 1, { mostTokens: 256, sequences: 2 }, { one: 1, two: 1, waitShare: 0.4 })).toEqual([
      'none',
    ]);
  });

  it('falls back to one batch below two micro-batches’ worth of work', () => {
    const times = { one: 1, two: 0.5, waitShare: 0.5 };
    const small = { mostTokens: OVERLAP_TOKENS.prefill - 1, sequences: 1 };
    expect(new Set(run(new OverlapChoice(), 20, small, times))).toEqual(new Set(['none']));
    const few = { mostTokens: OVERLAP_TOKENS.decode - 1, sequences: OVERLAP_TOKENS.decode };
    expect(new Set(run(new OverlapChoice(), 20, few, times))).toEqual(new Set(['none']));
    expect(run(new OverlapChoice(), 5, { mostTokens: 0, sequences: 0 }, times)).toEqual(
      Array(5).fill('none'),
    );
  });
});
