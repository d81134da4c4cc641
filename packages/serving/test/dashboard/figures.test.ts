import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, compact, duration, milliseconds, percent, ticks } from '../../src/dashboard/client/format.js';
import {
  highestOverMean,
  layerFigures,
  loadRatio,
  newTokens,
  rankTokens,
} from '../../src/dashboard/client/load-figures.js';
import { SseParser } from '../../src/dashboard/client/sse-parser.js';
import { laneFigures, lanesOf } from '../../src/dashboard/client/timeline-figures.js';
import type { SpanView, StageExpertsView } from '../../src/dashboard/protocol.js';

describe('numbers', () => {
  it.each([
    [0, '0'],
    [7, '7'],
    [7.25, '7.3'],
    [999, '999'],
    [999.6, '1.0k'],
    [1234, '1.2k'],
    [12_345, '12k'],
    [999_600, '1.0M'],
    [3.4e9, '3.4G'],
    [-1500, '-1.5k'],
    [Number.NaN, '–'],
  ])('%d is %s', (value, text) => {
    expect(compact(value)).toBe(text);
  });

  it('names times and shares', () => {
    expect([0, 0.84, 42, 999.6, 1250, 61_000].map(milliseconds)).toEqual([
      '0 ms',
      '0.8 ms',
      '42 ms',
      '1.00 s',
      '1.25 s',
      '1.0 min',
    ]);
    expect(milliseconds(null)).toBe('–');
    expect([0, 0.012, 0.5, 1].map(percent)).toEqual(['0 %', '1.2 %', '50 %', '100 %']);
    expect([999, 2_260_000].map(bytes)).toEqual(['999 B', '2.3 MB']);
    expect([42, 185, 7500, 3600, 280_000].map(duration)).toEqual([
      '42 s',
      '3 min',
      '2 h 5 min',
      '1 h',
      '3 d 5 h',
    ]);
  });

  it('puts marks on an axis that reach its top', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 1e12, noNaN: true }), (maximum) => {
        const marks = ticks(maximum);
        expect(marks[0]).toBe(0);
        expect(marks.at(-1)!).toBeGreaterThanOrEqual(maximum * 0.998);
        expect(marks.length).toBeLessThanOrEqual(6);
      }),
      { seed: 3 },
    );
  });
});

describe('SseParser', () => {
  it('reads events however they are cut', () => {
    const events = [
      { name: 'live', data: '{"a":1}' },
      { name: 'message', data: 'two\nlines' },
      { name: 'x', data: '' },
    ];
    const text =
      ': note\nevent: live\ndata: {"a":1}\n\ndata: two\r\ndata:lines\r\n\r\nevent: none\n\nevent: x\ndata\n\n';
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 })), (cuts) => {
        const parser = new SseParser();
        const found = [];
        let rest = text;
        for (const cut of cuts) {
          found.push(...parser.push(rest.slice(0, cut)));
          rest = rest.slice(cut);
        }
        found.push(...parser.push(rest));
        expect(found).toEqual(events);
      }),
      { seed: 5 },
    );
  });

  it('gives up on a stream without ends', () => {
    const parser = new SseParser();
    expect(() => {
      for (let i = 0; i < 40; i++) parser.push('x'.repeat(500_000));
    }).toThrow('too long');
  });
});

const view: StageExpertsView = {
  stage: 'decode',
  layers: 1,
  layerNames: [3],
  experts: 4,
  ranks: 2,
  tokens: [60, 20, 20, 0],
  slots: [0, 1, 3, 0, 2, -1],
};

describe('load figures', () => {
  it('compares with the mean, shares the tokens of replicas', () => {
    expect(loadRatio(view, 0, 0)).toBe(2.4);
    expect(rankTokens(view, 0)).toEqual([50, 50]);
    expect(layerFigures(view, 0, 2)).toEqual({
      total: 100,
      imbalance: 2.4,
      rankImbalance: 1,
      unused: 1,
      busiest: [
        { expert: 0, ratio: 2.4 },
        { expert: 1, ratio: 0.8 },
      ],
    });
    expect(highestOverMean([])).toBe(1);
    expect(layerFigures({ ...view, tokens: [0, 0, 0, 0] }, 0).imbalance).toBe(0);
  });

  it('takes differences, and all of it after a start', () => {
    expect(newTokens(view, { ...view, tokens: [10, 20, 0, 0] }).tokens).toEqual([50, 0, 20, 0]);
    expect(newTokens(view, { ...view, tokens: [100, 0, 0, 0] })).toBe(view);
    expect(newTokens(view, undefined)).toBe(view);
  });
});

describe('timeline figures', () => {
  const span = (stage: string, startUs: number, endUs: number, microBatch = -1): SpanView => ({
    stage,
    kind: stage === 'prefill' ? 'prefill' : 'decode',
    microBatch,
    startUs,
    endUs,
    sequences: 1,
    tokens: 1,
  });

  it('orders lanes along the pipeline and measures how much overlaps', () => {
    const spans = [
      span('decode', 0, 10, 0),
      span('decode', 5, 15, 1),
      { ...span('decode', 20, 22), kind: 'transfer' as const },
      span('prefill', 18, 21),
    ];
    const lanes = lanesOf(spans);
    expect(lanes.map(({ name }) => name)).toEqual([
      'prefill',
      'KV hand-over',
      'decode · micro-batch 1',
      'decode · micro-batch 2',
    ]);
    const figures = laneFigures(lanes, 0, 40);
    expect(figures.map(({ busy }) => busy)).toEqual([3 / 40, 2 / 40, 10 / 40, 10 / 40]);
    expect(figures.map(({ overlapped }) => overlapped)).toEqual([1 / 3, 0.5, 0.5, 0.5]);
  });

  it('never finds more than all of it', () => {
    const spanArb = fc
      .tuple(fc.nat(100), fc.nat(50), fc.constantFrom('prefill', 'decode'), fc.constantFrom(-1, 0, 1))
      .map(([start, length, stage, microBatch]) => span(stage, start, start + length, microBatch));
    fc.assert(
      fc.property(fc.array(spanArb), (spans) => {
        for (const { busy, overlapped } of laneFigures(lanesOf(spans), 10, 120)) {
          expect(busy).toBeGreaterThanOrEqual(0);
          expect(busy).toBeLessThanOrEqual(1);
          expect(overlapped).toBeLessThanOrEqual(1);
        }
      }),
      { seed: 11 },
    );
  });
});
