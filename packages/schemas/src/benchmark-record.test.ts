import { describe, expect, it } from 'vitest';
import { BenchmarkRecord } from './index.js';

const record: BenchmarkRecord = {
  schemaVersion: 1,
  name: 'language-model',
  dataset: { name: 'texts.jsonl', sha256: '0'.repeat(64), bytes: 12, tokens: 4, license: 'CC0-1.0' },
  subject: { name: 'model', kind: 'model', recipe: 'fp8-weights' },
  settings: { contextTokens: 256, seed: null },
  figures: [
    {
      metric: 'perplexity',
      of: 'subject',
      value: 9.5,
      samples: 3,
      interval: { low: 9, high: 10, level: 0.95, method: 'batch means' },
      slice: { generator: 'human', lengthTokens: { minimum: 1, maximum: 256 } },
    },
  ],
  createdWith: { command: 'moestack fp8 eval', package: 'moestack', version: '0.0.0' },
};

const accepts = (change: object): boolean => BenchmarkRecord.safeParse({ ...record, ...change }).success;

describe('BenchmarkRecord', () => {
  it('takes a whole record as it is', () => {
    expect(BenchmarkRecord.parse(record)).toEqual(record);
  });

  it('refuses figures without the data, the baseline or the command they need', () => {
    expect(accepts({ dataset: undefined })).toBe(false);
    expect(accepts({ dataset: { ...record.dataset, sha256: 'abc' } })).toBe(false);
    expect(accepts({ figures: [] })).toBe(false);
    expect(accepts({ createdWith: { ...record.createdWith, command: '' } })).toBe(false);
    const comparison = [{ metric: 'kl-divergence', of: 'comparison', value: 0 }];
    expect(accepts({ figures: comparison })).toBe(false);
    expect(accepts({ figures: comparison, baseline: record.subject })).toBe(true);
  });

  it('refuses numbers that JSON cannot hold and slices that are empty ranges', () => {
    const figure = record.figures[0];
    expect(accepts({ figures: [{ ...figure, value: Number.NaN }] })).toBe(false);
    expect(accepts({ figures: [{ ...figure, slice: { lengthTokens: { minimum: 2, maximum: 1 } } }] })).toBe(
      false,
    );
  });
});
