import {
  applyThreshold,
  BINOCULARS_THRESHOLDS,
  bestThreshold,
  binoculars,
  conformalThreshold,
  type DetectorThreshold,
  detectors,
  fitThreshold,
  fromLogits,
  type LanguageModel,
  measureText,
  parseThreshold,
  scoreMeasured,
  scoreText,
  statisticsFromLogits,
  type ThresholdRule,
  thresholdForFpr,
} from '@moestack/detect';
import { checkRecording, type Recording, recordModel, replayModel } from '@moestack/detect/replay';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { goldenCase, goldenRows } from './golden-scores.js';
import { codeOf } from './stand-in.js';

const golden = goldenCase('v1000');
const row = goldenRows(golden)[0]!;
const text = 'the golden text';

function replay(role: 'observer' | 'performer', changes: Partial<Recording> = {}): LanguageModel {
  return replayModel({
    schemaVersion: 1,
    identity: { name: role, dtype: 'f32', vocabulary: row.vocab },
    capability: { distribution: 'full' },
    texts: [{ text, tokens: Array.from(row.ids, (tokenId) => ({ tokenId })), logits: row[role] }],
    ...changes,
  });
}

describe('measureText', () => {
  const { padTokenId: _, mask: __, ...plain } = row;

  it('gives the scores of the same logits, position by position', async () => {
    const measured = await measureText(text, {
      observer: replay('observer'),
      performer: replay('performer'),
    });
    expect(scoreMeasured('binoculars', measured).value).toBe(fromLogits('binoculars', plain));
    expect(scoreMeasured('fastDetectGpt', measured).value).toBe(fromLogits('fastDetectGpt', plain));
    expect(scoreMeasured('lrr', measured)).toMatchObject({ orientation: 'high', tokens: row.ids.length - 1 });
    expect(binoculars(measured.statistics, { positions: 'aligned' })).toEqual(
      binoculars(statisticsFromLogits(plain), { positions: 'aligned' }),
    );
  });

  it('uses one model in both roles, or one alone', async () => {
    const performer = replay('performer');
    const white = { ...plain, observer: row.performer };
    const both = await scoreText('fastDetectGpt', text, { performer, observer: performer });
    const alone = await scoreText('fastDetectGpt', text, { performer });
    expect(both.value).toBeCloseTo(fromLogits('fastDetectGpt', white), 10);
    expect(alone.value).toBeCloseTo(both.value, 10);
    expect(await codeOf(scoreText('binoculars', text, { performer }))).toBe('detect/capability');
    expect(await codeOf(scoreText('toString' as 'lrr', text, { performer }))).toBe('detect/bad-config');
  });

  it('refuses models that split the text differently, and Binoculars with cut vocabularies', async () => {
    const performer = replay('performer');
    const other = Array.from(row.ids, (tokenId, t) => ({ tokenId: t === 5 ? 1 : tokenId }));
    const swapped = replay('observer', { texts: [{ text, tokens: other, logits: row.observer }] });
    const shorter = replay('observer', {
      texts: [{ text, tokens: other.slice(0, 4), logits: row.observer.subarray(0, 4 * row.vocab) }],
    });
    for (const observer of [swapped, shorter])
      expect(await codeOf(measureText(text, { performer, observer }))).toBe('detect/model-mismatch');
    const tokens = Array.from(row.ids, (tokenId) => ({ tokenId }));
    const wide = replay('observer', {
      texts: [{ text, tokens, logits: new Float32Array(row.ids.length * (row.vocab + 3)) }],
    });
    const measured = await measureText(text, { performer, observer: wide });
    expect(measured.vocabularyCut).toBe(true);
    expect(scoreMeasured('fastDetectGpt', measured).value).not.toBeNaN();
    expect(() => scoreMeasured('binoculars', measured)).toThrow('one vocabulary');
  });

  it('needs no more than a detector needs', async () => {
    const tokens = [
      { tokenId: 1 },
      { tokenId: 2, logProb: -2, rank: 4 },
      { tokenId: 3, logProb: -1, rank: 1 },
    ];
    const ranked = replayModel({
      schemaVersion: 1,
      identity: { name: 'ranked', dtype: 'f32' },
      capability: { distribution: 'tokenOnly', rank: true },
      texts: [{ text, tokens }],
    });
    const served: string[] = [];
    for (const name of Object.keys(detectors) as (keyof typeof detectors)[]) {
      const code = await codeOf(scoreText(name, text, { performer: ranked }));
      if (code !== 'detect/capability') served.push(name);
    }
    expect(served).toEqual(['logLikelihood', 'rank', 'logRank', 'lrr', 'lastde', 'gltr']);
    expect((await scoreText('lrr', text, { performer: ranked })).value).toBeCloseTo(
      1.5 / (Math.log(4) / 2),
      12,
    );
  });

  it('closes both iterators when one fails', async () => {
    let closed = 0;
    const failing = (fails: boolean): LanguageModel => ({
      ...replay('performer'),
      async *score() {
        try {
          yield { tokenId: 0, nextTokenId: 1, row: new Float32Array(4) };
          if (fails) throw new Error('broken');
          yield { tokenId: 1, nextTokenId: -1, row: new Float32Array(4) };
        } finally {
          closed++;
        }
      },
    });
    await expect(measureText(text, { performer: failing(true), observer: failing(false) })).rejects.toThrow(
      'broken',
    );
    expect(closed).toBe(2);
  });
});

describe('recordings', () => {
  it('repeat a model exactly', async () => {
    const recording = await recordModel(replay('performer'), [text]);
    const again = replayModel(recording);
    const performer = replay('performer');
    expect(await scoreText('entropy', text, { performer: again })).toEqual(
      await scoreText('entropy', text, { performer }),
    );
    expect(await codeOf(scoreText('entropy', 'another text', { performer: again }))).toBe('detect/model');
  });

  it('are checked', () => {
    const base = {
      schemaVersion: 1,
      identity: { name: 'x', dtype: 'f32' },
      capability: { distribution: 'tokenOnly', rank: true },
      texts: [{ text, tokens: [{ tokenId: 1 }, { tokenId: 2, logProb: -1, rank: 1 }] }],
    };
    expect(checkRecording(base)).toEqual(base);
    const bad = [
      null,
      { ...base, schemaVersion: 2 },
      { ...base, capability: { distribution: 'full' } },
      { ...base, texts: [{ text, tokens: [{ tokenId: 1 }, { tokenId: 2, logProb: -1 }] }] },
      { ...base, texts: [{ text, tokens: [{ tokenId: 1 }, { tokenId: 2, logProb: 1, rank: 1 }] }] },
      { ...base, capability: { distribution: 'topK', topK: 5, rank: true } },
      { ...base, extra: 1 },
    ];
    for (const json of bad) expect(() => checkRecording(json)).toThrow('expected a recording');
  });
});

describe('thresholds', () => {
  const models = { performer: { name: 'p', dtype: 'f32' }, observer: { name: 'o', dtype: 'f32' } };
  const threshold: DetectorThreshold = {
    schemaVersion: 1,
    detector: 'binoculars',
    threshold: 0.9,
    models,
    rule: 'f1',
    fittedOn: { dataset: 'demo', humans: 100, ais: 100 },
  };
  const score = {
    detector: 'binoculars' as const,
    value: 0.85,
    orientation: 'low' as const,
    tokens: 9,
    models,
  };

  it('apply to the same detector and models, low scores strictly below', () => {
    expect(applyThreshold(score, threshold)).toEqual({ flagged: true, forced: false });
    expect(applyThreshold({ ...score, value: 0.9 }, threshold).flagged).toBe(false);
    const high = { ...score, detector: 'lrr' as const, orientation: 'high' as const, value: 0.9 };
    expect(applyThreshold(high, { ...threshold, detector: 'lrr' }).flagged).toBe(true);
  });

  it('refuse other models, types and detectors; only models can be forced', () => {
    const others = [
      { ...models, performer: { name: 'q', dtype: 'f32' } },
      { ...models, observer: { name: 'o', dtype: 'bf16' } },
      { performer: models.performer },
    ];
    for (const other of others) {
      expect(() => applyThreshold({ ...score, models: other }, threshold)).toThrow('for which the threshold');
      expect(applyThreshold({ ...score, models: other }, threshold, { force: true })).toEqual({
        flagged: true,
        forced: true,
      });
    }
    const lrr = { ...score, detector: 'lrr' as const };
    expect(() => applyThreshold(lrr, threshold, { force: true })).toThrow('expected detector binoculars');
    expect(() => applyThreshold(score, BINOCULARS_THRESHOLDS.lowFpr)).toThrow('tiiuae/falcon-7b-instruct');
  });

  it('fitted on scores keep their promise on them, whichever end means AI', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 20, maxLength: 60 }),
        fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 2, maxLength: 60 }),
        fc.constantFrom('high', 'low'),
        (human, ai, orientation) => {
          const scores = [...human, ...ai].map((value) => ({ ...score, value, orientation }));
          const labels = [...human.map(() => 0), ...ai.map(() => 1)];
          const flags = (rule: ThresholdRule): boolean[] => {
            const fitted = fitThreshold(scores, labels, { rule, dataset: 'demo' });
            return scores.map((entry) => applyThreshold(entry, fitted).flagged);
          };
          const rate = (list: boolean[]): number => list.filter(Boolean).length / list.length;
          const sign = orientation === 'low' ? -1 : 1;
          const oriented = [human, ai].map((list) => list.map((value) => sign * value)) as [
            number[],
            number[],
          ];
          const byRate = flags({ type: 'fpr', fpr: 0.1 });
          expect(rate(byRate.slice(0, human.length))).toBe(thresholdForFpr(...oriented, 0.1)?.fpr ?? 0);
          expect(rate(byRate.slice(human.length))).toBe(thresholdForFpr(...oriented, 0.1)?.tpr ?? 0);
          const conformal = flags({ type: 'conformal', alpha: 0.2 }).slice(0, human.length);
          const { threshold: limit } = conformalThreshold(oriented[0], 0.2);
          expect(conformal).toEqual(oriented[0].map((value) => value > limit));
          const best = flags({ type: 'accuracy' });
          const right = best.filter((flag, i) => flag === (labels[i] === 1)).length;
          expect(right / best.length).toBeCloseTo(bestThreshold(...oriented, 'accuracy').value, 12);
        },
      ),
      { numRuns: 100, seed: 21 },
    );
    const other = { ...score, models: { performer: models.performer } };
    const mixed = (): unknown =>
      fitThreshold([score, other], [0, 1], { rule: { type: 'f1' }, dataset: 'demo' });
    expect(mixed).toThrow('at index 1');
    expect(() => fitThreshold([score], [0], { rule: { type: 'fpr', fpr: 0.01 }, dataset: 'demo' })).toThrow();
  });

  it('survive JSON and are checked', () => {
    for (const value of [0.9, -Infinity]) {
      const stored = { ...threshold, threshold: value };
      expect(parseThreshold(JSON.parse(JSON.stringify(stored)))).toEqual(stored);
    }
    for (const json of [undefined, [], { ...threshold, detector: 'magic' }, { ...threshold, threshold: '1' }])
      expect(() => parseThreshold(json)).toThrow('expected a threshold');
  });
});
