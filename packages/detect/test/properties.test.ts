import {
  binoculars,
  bootstrapAuc,
  conformalThreshold,
  DetectError,
  delong,
  delongPaired,
  detectors,
  detectWatermark,
  evaluateStrata,
  fillSpans,
  fitIsotonic,
  fitPlatt,
  fromLogits,
  glimpse,
  greenList,
  isotonicProbability,
  maskSpans,
  type PairLogits,
  plattProbability,
  rocAuc,
  rocCurve,
  statisticsFromLogits,
  TextScorer,
  thresholdForFpr,
  tprAtFpr,
  twoNormalProbability,
} from '@moestack/detect';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generator } from './random.js';

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

describe('evaluation', () => {
  const scores = fc.array(fc.oneof(fc.integer({ min: -4, max: 4 }), fc.double({ noNaN: true })), {
    minLength: 2,
    maxLength: 60,
  });

  it('the AUC is the share of won pairs, symmetric, and the area of the curve', () => {
    fc.assert(
      fc.property(scores, scores, (human, ai) => {
        let won = 0;
        for (const a of ai) for (const h of human) won += a > h ? 1 : a === h ? 0.5 : 0;
        const auc = rocAuc(human, ai);
        expect(auc).toBeCloseTo(won / (human.length * ai.length), 12);
        expect(rocAuc(ai, human)).toBeCloseTo(1 - auc, 12);
        for (const dropCollinear of [true, false]) {
          const { fpr, tpr } = rocCurve(human, ai, { dropCollinear });
          let area = 0;
          for (let i = 1; i < fpr.length; i++)
            area += ((fpr[i]! - fpr[i - 1]!) * (tpr[i]! + tpr[i - 1]!)) / 2;
          expect(area).toBeCloseTo(auc, 12);
        }
        const { variance, interval } = delong(human, ai);
        expect(variance).toBeGreaterThanOrEqual(0);
        expect(interval.low).toBeLessThanOrEqual(auc);
        const same = delongPaired({ human, ai }, { human, ai });
        expect([same.z, same.p]).toEqual([0, 1]);
      }),
      runs,
    );
  });

  it('rates are kept: step never above interpolation, thresholds never above their rate', () => {
    fc.assert(
      fc.property(scores, scores, fc.double({ min: 0.001, max: 0.999, noNaN: true }), (human, ai, rate) => {
        const { step, interpolated } = tprAtFpr(human, ai, rate, { extrapolate: true });
        expect(step).toBeLessThanOrEqual(interpolated);
        const found = thresholdForFpr(human, ai, rate, { extrapolate: true });
        const flagged = (threshold: number): number => human.filter((score) => score >= threshold).length;
        if (found === undefined)
          expect(flagged(Math.max(...human, ...ai))).toBeGreaterThan(rate * human.length);
        else expect(flagged(found.threshold) / human.length).toBeLessThanOrEqual(rate);
        if (human.length * rate < 1) expect(() => tprAtFpr(human, ai, rate)).toThrow('human texts');
        const { threshold } = conformalThreshold(human, rate);
        expect(human.filter((score) => score > threshold).length).toBeLessThanOrEqual(
          rate * (human.length + 1),
        );
      }),
      runs,
    );
  });

  it('calibrations are monotone probabilities', () => {
    const finite = fc.array(fc.double({ min: -50, max: 50, noNaN: true }), { minLength: 2, maxLength: 40 });
    fc.assert(
      fc.property(finite, finite, (human, ai) => {
        const isotonic = fitIsotonic(human, ai);
        const platt = fitPlatt(human, ai);
        const grid = Array.from({ length: 41 }, (_, i) => -60 + 3 * i);
        const first = grid.map((score) => isotonicProbability(isotonic, score));
        const second = grid.map((score) => plattProbability(platt, score));
        for (const values of [first, second]) expect(values.every((p) => p >= 0 && p <= 1)).toBe(true);
        for (let i = 1; i < grid.length; i++) {
          expect(first[i]!).toBeGreaterThanOrEqual(first[i - 1]!);
          expect((second[i]! - second[i - 1]!) * (platt.a <= 0 ? 1 : -1)).toBeGreaterThanOrEqual(0);
        }
        for (const extreme of [-Infinity, Infinity]) {
          expect(plattProbability(platt, extreme)).not.toBeNaN();
          expect(isotonicProbability(isotonic, extreme)).not.toBeNaN();
        }
      }),
      runs,
    );
  });

  it('a bootstrap repeats with its seed and surrounds the AUC', () => {
    const random = generator(17);
    const human = Array.from({ length: 60 }, () => random());
    const ai = Array.from({ length: 60 }, () => random() + 0.3);
    const run = (): ReturnType<typeof bootstrapAuc> =>
      bootstrapAuc(human, ai, { resamples: 400, random: generator(18) });
    expect(run()).toEqual(run());
    const { interval } = run();
    expect(interval.low).toBeLessThan(rocAuc(human, ai));
    expect(interval.high).toBeGreaterThan(rocAuc(human, ai));
    const { interval: analytic } = delong(human, ai);
    expect(Math.abs(interval.low - analytic.low)).toBeLessThan(0.05);
  });

  it('two-normal probabilities are monotone whatever the widths', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -3, max: 3, noNaN: true }),
        fc.double({ min: 0.1, max: 3, noNaN: true }),
        fc.double({ min: -3, max: 3, noNaN: true }),
        fc.double({ min: 0.1, max: 3, noNaN: true }),
        (mu0, sigma0, mu1, sigma1) => {
          const normals = { mu0, sigma0, mu1, sigma1 };
          const values = [-Infinity, -1e6, -50, -5, -1, 0, 1, 5, 50, 1e6, Infinity].map((score) =>
            twoNormalProbability(score, normals),
          );
          expect(values.some(Number.isNaN)).toBe(false);
          const sign = mu1 >= mu0 ? 1 : -1;
          for (let i = 1; i < values.length; i++)
            expect(sign * (values[i]! - values[i - 1]!)).toBeGreaterThanOrEqual(-1e-12);
        },
      ),
      runs,
    );
  });

  it('strata show what the average hides', () => {
    const texts = Array.from({ length: 400 }, (_, i) => {
      const isAi = i % 2 === 1;
      const long = i % 4 < 2;
      // Long texts are told apart, short ones are not.
      const score = (i % 37) / 37 + (isAi && long ? 2 : 0);
      return {
        score,
        isAi,
        length: long ? 400 : 40,
        domain: i % 8 < 4 ? 'news' : 'code',
        ...(isAi && { generator: i % 3 === 0 ? 'a' : 'b' }),
      };
    });
    const report = evaluateStrata(texts);
    expect(report.byLength.map(({ name }) => name)).toEqual(['26-50', '301-512']);
    expect(report.byLength[0]!.auc!.auc).toBeLessThan(0.6);
    expect(report.byLength[1]!.auc!.auc).toBe(1);
    expect(report.byDomain.map(({ name }) => name)).toEqual(['code', 'news']);
    expect(report.byGenerator.map(({ name, humans }) => [name, humans])).toEqual([
      ['a', 200],
      ['b', 200],
    ]);
    const few = evaluateStrata(texts.slice(0, 3));
    expect(few.all).toMatchObject({ auc: undefined, tpr: undefined });
    const flipped = evaluateStrata(
      texts.map((text) => ({ ...text, score: -text.score })),
      { orientation: 'low' },
    );
    expect(flipped.all.auc!.auc).toBeCloseTo(report.all.auc!.auc, 12);
  });
});
