import {
  binoculars,
  DetectError,
  detectors,
  detectWatermark,
  fillSpans,
  fromLogits,
  glimpse,
  greenList,
  maskSpans,
  type PairLogits,
  statisticsFromLogits,
  TextScorer,
} from '@moestack/detect';
import { generator } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const runs = { numRuns: 100, seed: 11 };

function randomRow(seed: number, vocab: number, length: number, spread: number): PairLogits {
  const random = generator(seed);
  const logits = (): Float32Array =>
    Float32Array.from({ length: vocab * length }, () => spread * (random() + random() - 1));
  return {
    vocab,
    observer: logits(),
    performer: logits(),
    ids: Int32Array.from({ length }, () => Math.floor(random() * vocab)),
    mask: Uint8Array.from({ length }, () => (random() < 0.8 ? 1 : 0)),
    padTokenId: Math.floor(random() * vocab),
  };
}

const rowArbitrary = fc
  .record({
    seed: fc.integer(),
    vocab: fc.integer({ min: 1, max: 70 }),
    length: fc.integer({ min: 1, max: 24 }),
    spread: fc.constantFrom(0, 1, 20, 5000),
  })
  .map(({ seed, vocab, length, spread }) => randomRow(seed, vocab, length, spread));

/** The value, or the code of the error. */
function outcome(run: () => number): number | string {
  try {
    return run();
  } catch (error) {
    if (DetectError.isInstance(error)) return error.code;
    throw error;
  }
}

describe('scores', () => {
  it('fast and f64 agree within 1e-11, f32 within 1e-5; never NaN', () => {
    fc.assert(
      fc.property(rowArbitrary, fc.constantFrom(1, 0.7, 3), (row, temperature) => {
        for (const name of ['binoculars', 'logLikelihood', 'rank', 'logRank', 'entropy', 'lrr'] as const) {
          const exact = outcome(() => fromLogits(name, row, { precision: 'f64', temperature }));
          const fast = outcome(() => fromLogits(name, row, { temperature }));
          const single = outcome(() => fromLogits(name, row, { precision: 'f32', temperature }));
          if (typeof exact === 'string' || !Number.isFinite(exact)) {
            expect([fast, single]).toEqual([exact, exact]);
            continue;
          }
          const scale = Math.max(Math.abs(exact), 1e-3);
          expect(Math.abs((fast as number) - exact)).toBeLessThanOrEqual(1e-11 * scale);
          expect(Math.abs((single as number) - exact)).toBeLessThanOrEqual(1e-5 * scale);
        }
        for (const precision of ['fast', 'f64', 'f32'] as const) {
          expect(outcome(() => fromLogits('fastDetectGpt', row, { precision }))).not.toBeNaN();
          expect(outcome(() => fromLogits('lastde', row, { precision }))).not.toBeNaN();
        }
        expect(outcome(() => fromLogits('binoculars', row, { precision: 'bf16' }))).not.toBeNaN();
      }),
      runs,
    );
  });

  it('do not change when a constant is added to all logits of a position', () => {
    fc.assert(
      fc.property(rowArbitrary, fc.integer({ min: -512, max: 512 }), (row, shift) => {
        // Whole numbers: the shifted logits are exact.
        const whole = {
          ...row,
          observer: row.observer.map(Math.round),
          performer: row.performer.map(Math.round),
        };
        const moved = {
          ...whole,
          observer: whole.observer.map((value) => value + shift),
          performer: whole.performer.map((value) => value - shift),
        };
        for (const name of ['binoculars', 'fastDetectGpt', 'lrr', 'rank'] as const)
          expect(outcome(() => fromLogits(name, moved))).toEqual(outcome(() => fromLogits(name, whole)));
      }),
      runs,
    );
  });

  it('survive any float32 bits: a number, an infinity or a typed error', () => {
    fc.assert(
      fc.property(
        fc.uint32Array({ minLength: 24, maxLength: 24 }),
        fc.uint32Array({ minLength: 24, maxLength: 24 }),
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 4, maxLength: 4 }),
        (a, b, ids) => {
          const view = (bits: Uint32Array): Float32Array => new Float32Array(bits.slice().buffer);
          const row = { vocab: 6, observer: view(a), performer: view(b), ids: Int32Array.from(ids) };
          for (const name of Object.keys(detectors) as (keyof typeof detectors)[])
            for (const precision of ['fast', 'f64', 'f32'] as const)
              expect(outcome(() => fromLogits(name, row, { precision }))).not.toBeNaN();
          expect(outcome(() => fromLogits('binoculars', row, { precision: 'bf16' }))).not.toBeNaN();
        },
      ),
      { numRuns: 300, seed: 12 },
    );
  });

  it('Fast-DetectGPT of sampled texts is near 0 on average, and sampling agrees with the analytic form', () => {
    const random = generator(13);
    const row = { ...randomRow(14, 50, 200, 4), mask: new Uint8Array(200).fill(1) };
    const scorer = new TextScorer({ vocabulary: 50, sampling: { samples: 2000, random } });
    for (let t = 0; t < 200; t++) {
      const at = t * 50;
      scorer.push(row.performer.subarray(at, at + 50), row.observer.subarray(at, at + 50), {
        nextToken: t === 199 ? -1 : row.ids[t + 1]!,
      });
    }
    const statistics = scorer.finish();
    const analytic = detectors.fastDetectGpt.score(statistics);
    // The standard error of 2000 samples' mean is 0.02 of their deviation, of the deviation itself 0.016.
    expect(Math.abs(detectors.sampledDiscrepancy.score(statistics) - analytic)).toBeLessThan(
      0.1 + 0.06 * Math.abs(analytic),
    );
    expect(Number.isFinite(detectors.lastdePlusPlus.score(statistics))).toBe(true);
  });

  it('the pad token inside a text leaves the cross-entropy only', () => {
    const row = { ...randomRow(15, 9, 12, 3), mask: new Uint8Array(12).fill(1) };
    const pad = row.ids[4]!;
    const with_ = binoculars(statisticsFromLogits({ ...row, padTokenId: pad }));
    const { padTokenId: _, ...none } = row;
    const without = binoculars(statisticsFromLogits(none));
    expect(with_.perplexity).toBe(without.perplexity);
    expect(with_.crossPerplexity).not.toBe(without.crossPerplexity);
  });
});

describe('Glimpse', () => {
  it('bounds hold the entropy of any distribution, and all mass in the top K is exact', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 1e-6, max: 1, noNaN: true }), { minLength: 3, maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        (weights, k) => {
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          const logs = weights.map((weight) => Math.log(weight / total)).sort((a, b) => b - a);
          const entropy = -logs.reduce((sum, log) => sum + Math.exp(log) * log, 0);
          const topLogProbs = logs.slice(0, Math.min(k, logs.length));
          const estimate = glimpse([{ logProb: logs[0]!, topLogProbs }], { vocabulary: logs.length });
          expect(estimate.entropyLower).toBeLessThanOrEqual(entropy + 1e-9);
          expect(estimate.entropyLowerSorted).toBeLessThanOrEqual(entropy + 1e-9);
          expect(estimate.entropyUpper).toBeGreaterThanOrEqual(entropy - 1e-9);
          // Servers send -9999 for -Infinity.
          const odd = glimpse([{ logProb: -9999, topLogProbs: [...topLogProbs, -9999, -Infinity] }]);
          for (const value of [...Object.values(estimate), ...Object.values(odd)]) {
            if (typeof value === 'number') expect(value).not.toBeNaN();
          }
        },
      ),
      runs,
    );
  });
});

describe('watermark', () => {
  it('finds texts made of green tokens, in every scheme, and not random ones', () => {
    const vocabulary = 200;
    for (const scheme of ['simple_1', 'minhash', 'skipgram'] as const) {
      const random = generator(16);
      const ids = Array.from({ length: 5 }, () => Math.floor(random() * vocabulary));
      const width = { simple_1: 1, minhash: 4, skipgram: 5 }[scheme];
      while (ids.length < 60) {
        const green = greenList(Int32Array.from(ids.slice(-width)), { vocabulary, gamma: 0.25, scheme });
        ids.push(green[Math.floor(random() * green.length)]!);
      }
      const marked = detectWatermark(Int32Array.from(ids), { vocabulary, scheme });
      expect(marked.z).toBeGreaterThan(8);
      const plain = ids.map(() => Math.floor(random() * vocabulary));
      expect(detectWatermark(Int32Array.from(plain), { vocabulary, scheme }).z).toBeLessThan(4);
    }
    // With self-hash a token is green by its own list.
    const self = detectWatermark(
      Int32Array.from({ length: 80 }, (_, i) => (i * 37) % vocabulary),
      {
        vocabulary,
        scheme: 'selfhash',
      },
    );
    expect(self.scored).toBeLessThanOrEqual(77);
    expect(() => detectWatermark(Int32Array.of(1), { vocabulary })).toThrow('at least 1 scored token');
    expect(() => detectWatermark(Int32Array.of(1, 200), { vocabulary })).toThrow('below 200');
  });
});

describe('masking', () => {
  it('fills give the text back', () => {
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[a-z]{1,6}$/), { minLength: 1, maxLength: 60 }),
        fc.integer(),
        (words, seed) => {
          const text = words.join(' ');
          const masked = maskSpans(text, { random: generator(seed) });
          const parts = masked.text.split(/<extra_id_\d+>/);
          expect(parts.length - 1).toBe(masked.spans);
          const fills: string[] = [];
          let at = parts[0]!.length;
          for (let i = 1; i < parts.length; i++) {
            const words = text.slice(at).match(/^\S+ \S+/)![0];
            fills.push(words);
            at += words.length + parts[i]!.length;
          }
          expect(fillSpans(masked.text, fills)).toBe(text);
        },
      ),
      runs,
    );
  });
});
