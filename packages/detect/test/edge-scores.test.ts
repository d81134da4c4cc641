import { binoculars, DetectError, fromLogits, type PairLogits, statisticsFromLogits } from '@moestack/detect';
import { readFixtureJson } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { type BinocularsColumn, distance, type GoldenNumber } from './golden-scores.js';

interface EdgeCase {
  tag: string;
  V: number;
  padTokenId: number;
  inputIds: number[][];
  attentionMask: number[][];
  observerLogits: GoldenNumber[];
  performerLogits: GoldenNumber[];
  f64: BinocularsColumn;
  fastDetectGpt?: GoldenNumber;
  lrr?: GoldenNumber;
  meanRank?: number;
  logLikelihood?: number;
  entropy?: GoldenNumber;
}

const { cases } = readFixtureJson<{ cases: EdgeCase[] }>('detect/scores/edge.json');
const scores = ['binoculars', 'fastDetectGpt', 'logLikelihood', 'rank', 'logRank', 'entropy', 'lrr'] as const;

function input(tag: string): { row: PairLogits; golden: EdgeCase } {
  const golden = cases.find((entry) => entry.tag === tag)!;
  const row = {
    vocab: golden.V,
    observer: Float32Array.from(golden.observerLogits, Number),
    performer: Float32Array.from(golden.performerLogits, Number),
    ids: Int32Array.from(golden.inputIds[0]!),
    mask: Uint8Array.from(golden.attentionMask[0]!),
    padTokenId: golden.padTokenId,
  };
  return { row, golden };
}

function code(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return DetectError.isInstance(error) ? error.code : String(error);
  }
}

describe.each(['plain', 'hugeOffset', 'hugeSpread', 'uniform', 'allRankOne'])('%s', (tag) => {
  const { row, golden } = input(tag);

  it.each(['fast', 'f64'] as const)('Binoculars, likelihood and entropy in %s', (precision) => {
    const statistics = statisticsFromLogits(row, { precision });
    const { perplexity, crossPerplexity, score } = binoculars(statistics);
    const aligned = binoculars(statistics, { positions: 'aligned' }).score;
    const expected = [golden.f64.ppl, golden.f64.xPpl, golden.f64.score, golden.f64.scoreAligned];
    [perplexity, crossPerplexity, score, aligned].forEach((value, i) => {
      expect(distance(value, expected[i]![0] as number)).toBeLessThanOrEqual(1e-9);
    });
    // These columns were made in float32.
    expect(distance(fromLogits('logLikelihood', row, { precision }), golden.logLikelihood!)).toBeLessThan(
      1e-5,
    );
    expect(Math.abs(fromLogits('entropy', row, { precision }) - (golden.entropy as number))).toBeLessThan(
      1e-5,
    );
    if (tag === 'uniform') return;
    expect(fromLogits('rank', row, { precision })).toBe(golden.meanRank);
    expect(distance(fromLogits('lrr', row, { precision }), Number(golden.lrr))).toBeLessThan(1e-5);
    const curvature = fromLogits('fastDetectGpt', row, { precision });
    // The reference subtracts squares of about 1e6 in float32 where logits spread over thousands.
    const tolerance = tag === 'hugeSpread' ? 1e-3 : 1e-4;
    expect(distance(curvature, golden.fastDetectGpt as number)).toBeLessThan(tolerance);
  });
});

it('uniform distributions have no curvature: 0, not 0/0', () => {
  const { row } = input('uniform');
  expect(fromLogits('fastDetectGpt', row)).toBe(0);
  expect(fromLogits('fastDetectGpt', row, { precision: 'f64' })).toBe(0);
});

it('a vocabulary entry masked in both models counts nothing, where the reference gives NaN', () => {
  const { row, golden } = input('minusInfBoth');
  const kept = [...Array(row.vocab).keys()].filter((v) => row.performer[v] !== -Infinity);
  const cut = (logits: Float32Array): Float32Array =>
    Float32Array.from({ length: row.ids.length * kept.length }, (_, i) => {
      return logits[Math.floor(i / kept.length) * row.vocab + kept[i % kept.length]!]!;
    });
  const position = new Map(kept.map((v, i) => [v, i]));
  const without = {
    ...row,
    vocab: kept.length,
    observer: cut(row.observer),
    performer: cut(row.performer),
    ids: row.ids.map((id) => position.get(id)!),
    padTokenId: position.get(row.padTokenId!)!,
  };
  for (const precision of ['fast', 'f64'] as const) {
    for (const name of scores) {
      const actual = fromLogits(name, row, { precision });
      expect(Number.isFinite(actual)).toBe(true);
      expect(distance(actual, fromLogits(name, without, { precision }))).toBeLessThan(1e-12);
    }
  }
  const { perplexity } = binoculars(statisticsFromLogits(row));
  expect(distance(perplexity, golden.f64.ppl[0] as number)).toBeLessThan(1e-9);
});

it('a single token has no score: abstain', () => {
  const { row } = input('oneToken');
  for (const name of [...scores, 'lastde'] as const) {
    expect(code(() => fromLogits(name, row))).toBe('detect/too-short');
  }
  expect(
    code(() =>
      fromLogits('lrr', {
        ...row,
        ids: new Int32Array(0),
        mask: new Uint8Array(0),
        observer: new Float32Array(0),
        performer: new Float32Array(0),
      }),
    ),
  ).toBe('detect/too-short');
});

it('LRR is Infinity when every token has rank 1', () => {
  expect(fromLogits('lrr', input('allRankOne').row)).toBe(Infinity);
});

describe('hostile logits', () => {
  const { row } = input('plain');
  const changed = (model: 'observer' | 'performer', value: number, at: number): PairLogits => {
    const logits = row[model].slice();
    logits[at] = value;
    return { ...row, [model]: logits };
  };

  it.each(['fast', 'f64', 'bf16'] as const)('NaN and +Infinity are typed errors in %s', (precision) => {
    for (const model of ['observer', 'performer'] as const) {
      for (const value of [Number.NaN, Infinity]) {
        expect(code(() => fromLogits('binoculars', changed(model, value, 40), { precision }))).toBe(
          'detect/not-finite',
        );
      }
      const empty = { ...row, [model]: new Float32Array(row[model].length).fill(-Infinity) };
      expect(code(() => fromLogits('binoculars', empty, { precision }))).toBe('detect/not-finite');
    }
  });

  it('a token of probability 0 gives an infinite score or an error to abstain on, never NaN', () => {
    const impossible = changed('performer', -Infinity, row.ids[1]!);
    for (const precision of ['fast', 'f64', 'f32'] as const) {
      expect(fromLogits('logLikelihood', impossible, { precision })).toBe(-Infinity);
      expect(fromLogits('binoculars', impossible, { precision })).toBe(Infinity);
      expect(fromLogits('fastDetectGpt', impossible, { precision })).toBe(-Infinity);
      expect(fromLogits('lrr', impossible, { precision })).toBe(Infinity);
      expect(code(() => fromLogits('lastde', impossible, { precision }))).toBe('detect/undefined-score');
    }
  });

  it('what lies outside the mask is not looked at', () => {
    const mask = Uint8Array.from(row.ids, (_, t) => (t < row.ids.length - 1 ? 1 : 0));
    const garbage = changed('observer', Number.NaN, (row.ids.length - 1) * row.vocab);
    const ids = row.ids.slice();
    ids[ids.length - 1] = -7;
    const { padTokenId: _, ...unpadded } = { ...garbage, mask, ids };
    expect(fromLogits('binoculars', unpadded)).toBeGreaterThan(0);
  });

  it('names wrong shapes, ids and options', () => {
    expect(code(() => fromLogits('lrr', { ...row, vocab: 32 }))).toBe('detect/bad-shape');
    expect(code(() => fromLogits('lrr', { ...row, ids: row.ids.map(() => 33) }))).toBe('detect/bad-shape');
    expect(code(() => fromLogits('lrr', { ...row, mask: new Uint8Array(3) }))).toBe('detect/bad-shape');
    expect(code(() => fromLogits('lrr', row, { temperature: 0 }))).toBe('detect/bad-config');
    expect(code(() => fromLogits('constructor' as 'lrr', row))).toBe('detect/bad-config');
    expect(code(() => fromLogits('lrr', row, { precision: 'f16' as 'f32' }))).toBe('detect/bad-config');
  });
});
