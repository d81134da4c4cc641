import {
  bootstrapAuc,
  conformalThreshold,
  delong,
  delongPaired,
  evaluateStrata,
  fitIsotonic,
  fitPlatt,
  isotonicProbability,
  plattProbability,
  rocAuc,
  rocCurve,
  thresholdForFpr,
  tprAtFpr,
  twoNormalProbability,
} from '@moestack/detect';
import { generator } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const runs = { numRuns: 100, seed: 11 };

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
