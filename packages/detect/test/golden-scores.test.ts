import {
  binoculars,
  diversityEntropies,
  fromLogits,
  gltr,
  LASTDE_CLOSED,
  lastde,
  lastdePlusPlus,
  type PairLogits,
  sampledDiscrepancy,
  statisticsFromLogits,
} from '@moestack/detect';
import { describe, expect, it } from 'vitest';
import { cutVocabulary, distance, goldenCase, goldenRows } from './golden-scores.js';

const names = ['v97', 'v97_bf16', 'v1000'];
const precisions = ['f64', 'fast', 'f32'] as const;

function expectNear(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    const far = distance(actual[i]!, expected[i]!);
    if (!(far <= tolerance))
      expect.fail(`element ${i}: expected ${expected[i]} within ${tolerance}, got ${actual[i]}`);
  }
}

/** How many other entries equal the logit of each scored token. */
function tiedWithToken(row: PairLogits, start: number, end: number): number[] {
  const counts: number[] = [];
  for (let t = start; t < end - 1; t++) {
    const logits = row.performer.subarray(t * row.vocab, (t + 1) * row.vocab);
    const value = logits[row.ids[t + 1]!];
    counts.push(logits.filter((logit) => logit === value).length - 1);
  }
  return counts;
}

describe.each(names)('%s', (name) => {
  const golden = goldenCase(name);
  const rows = goldenRows(golden);

  it.each(precisions)('Binoculars in %s, at both temperatures, with medians and aligned', (precision) => {
    for (const temperature of [1, 0.7]) {
      const suffix = temperature === 1 ? '' : `_T${temperature}`;
      const column = golden.binoculars[(precision === 'f32' ? 'f32' : 'f64') + suffix]!;
      const tolerance = precision === 'f32' ? 1e-5 : 1e-9;
      rows.forEach((row, b) => {
        const statistics = statisticsFromLogits(row, { precision, temperature });
        const published = binoculars(statistics);
        const middle = binoculars(statistics, { aggregate: 'median' });
        const aligned = binoculars(statistics, { positions: 'aligned' });
        const actual = [
          published.perplexity,
          published.crossPerplexity,
          published.score,
          middle.perplexity,
          middle.crossPerplexity,
          middle.score,
          aligned.crossPerplexity,
          aligned.score,
        ];
        const expected = [
          column.ppl,
          column.xPpl,
          column.score,
          column.pplMedian,
          column.xPplMedian,
          column.scoreMedian,
          column.xPplAligned,
          column.scoreAligned,
        ].map((values) => values[b] as number);
        expectNear(actual, expected, tolerance);
        expect(fromLogits('binoculars', row, { precision, temperature })).toBe(published.score);
      });
    }
  });

  it.each(precisions)('every per-token column and score in %s', (precision) => {
    const single = precision === 'f32';
    for (const expected of golden.rows) {
      const column = single ? expected.f32 : expected.f64;
      const tolerance = single ? 1e-5 : 1e-9;
      const row = rows[expected.row]!;
      const statistics = statisticsFromLogits(row, { precision, top: 10 });
      const { tokens } = statistics;
      // The order of tied logits is undefined in the reference program; bfloat16 logits often tie.
      const tied = tiedWithToken(row, expected.start, expected.end);
      const isTied = tied.some((count) => count > 0);
      tokens.rank.forEach((rank, i) => {
        expect(Math.abs(rank - column.tokenRank[i]!)).toBeLessThanOrEqual(tied[i]!);
      });
      // float32 columns differ from exact values by the rounding of the reference itself: absolute where values are small.
      const absolute = single ? 1e-5 : 1e-9;
      for (const [actual, wanted] of [
        [tokens.logProb, column.tokenLogProb],
        [tokens.entropy, column.tokenEntropy],
        [tokens.crossEntropy.map((value) => -value), column.tokenCrossMean],
        [tokens.topEntropy, column.gltrTop10EntropyRaw],
        [gltr(statistics).relativeProbability, column.gltrFracP],
      ] as const) {
        actual.forEach((value, i) => {
          expect(Math.abs(value - wanted[i]!)).toBeLessThanOrEqual(
            absolute * Math.max(1, Math.abs(wanted[i]!)),
          );
        });
      }
      if (!single) expectNear(tokens.crossVariance, column.tokenCrossVar, 1e-9);
      expect(gltr(statistics).counts).toEqual(column.gltrCounts);
      expect(gltr(statistics).topShare).toBeCloseTo(column.gltrFracTop10Raid, 12);
      expectNear(
        [fromLogits('logLikelihood', row, { precision }), fromLogits('entropy', row, { precision })],
        [column.logLikelihood, column.entropy],
        tolerance,
      );
      if (!isTied) {
        expectNear(
          [
            fromLogits('rank', row, { precision }),
            fromLogits('logRank', row, { precision }),
            fromLogits('lrr', row, { precision }),
          ],
          [column.meanRank, column.meanLogRank, column.lrr],
          tolerance,
        );
      }
      expectNear(
        [fromLogits('fastDetectGpt', row, { precision })],
        [column.fastDetectGpt],
        single ? 1e-4 : 1e-9,
      );
    }
  });

  it('Fast-DetectGPT with one model, and with both vocabularies cut', () => {
    for (const expected of golden.rows) {
      const row = rows[expected.row]!;
      const white = { ...row, observer: row.performer };
      expectNear([fromLogits('fastDetectGpt', white)], [expected.f64_white.fastDetectGpt], 1e-9);
      if (expected.f64_vocabCut === undefined) continue;
      const cut = cutVocabulary(row, golden.V - 7);
      expectNear([fromLogits('fastDetectGpt', cut)], [expected.f64_vocabCut.fastDetectGpt], 1e-9);
    }
  });

  it('Lastde for open and closed models', () => {
    for (const expected of golden.rows) {
      const statistics = statisticsFromLogits(rows[expected.row]!);
      const { open, closed } = expected.lastde;
      if (open !== undefined) {
        expectNear(diversityEntropies(statistics.tokens.logProb), open.de, 1e-5);
        expectNear([lastde(statistics)], [open.lastde], 1e-5);
      }
      if (closed !== undefined) {
        expectNear(diversityEntropies(statistics.tokens.logProb, LASTDE_CLOSED), closed.de, 1e-5);
        expectNear([lastde(statistics, LASTDE_CLOSED)], [closed.lastde], 1e-5);
      }
    }
  });

  it('sampled discrepancies with the given samples', () => {
    for (const expected of golden.rows) {
      if (expected.sampled === undefined) continue;
      const { samples, nSamples, discrepancy } = expected.sampled;
      const statistics = statisticsFromLogits(rows[expected.row]!, {
        sampleIds: Int32Array.from(samples.flat()),
        samples: nSamples,
      });
      expectNear([sampledDiscrepancy(statistics)], [discrepancy], 1e-5);
      if (expected.lastdePlusPlus !== undefined)
        expectNear([lastdePlusPlus(statistics)], [expected.lastdePlusPlus.value], 1e-5);
    }
  });
});

describe('bfloat16', () => {
  const golden = goldenCase('v97_bf16');
  const column = golden.binoculars['bf16']!;

  it('equals every Binoculars figure of the bfloat16 run bit for bit', () => {
    goldenRows(golden).forEach((row, b) => {
      const statistics = statisticsFromLogits(row, { precision: 'bf16' });
      expect(binoculars(statistics)).toEqual({
        perplexity: column.ppl[b],
        crossPerplexity: column.xPpl[b],
        score: column.score[b],
      });
      expect(binoculars(statistics, { aggregate: 'median' })).toEqual({
        perplexity: column.pplMedian[b],
        crossPerplexity: column.xPplMedian[b],
        score: column.scoreMedian[b],
      });
      const aligned = binoculars(statistics, { positions: 'aligned' });
      expect([aligned.crossPerplexity, aligned.score]).toEqual([
        column.xPplAligned[b],
        column.scoreAligned[b],
      ]);
    });
  });

  it('is refused for detectors that nobody publishes in bfloat16', () => {
    const row = goldenRows(golden)[0]!;
    expect(() => fromLogits('lrr', row, { precision: 'bf16' })).toThrow('got bf16');
  });
});
