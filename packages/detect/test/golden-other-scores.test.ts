import {
  detectGptFrom,
  detectWatermark,
  dnaGptFrom,
  GHOSTBUSTER_EXPRESSIONS,
  ghostbusterFeature,
  glimpse,
  gltrCounts,
  greenList,
  nprFrom,
  torchRandomPermutation,
} from '@moestack/detect';
import { readFixtureJson } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { distance, goldenCase } from './golden-scores.js';

function near(actual: number, expected: number, tolerance: number): void {
  const far = distance(actual, expected);
  if (!(far <= tolerance)) expect.fail(`expected ${expected} within ${tolerance}, got ${actual}`);
}

describe('aggregates', () => {
  interface Perturbation {
    logLikelihood: number;
    perturbedLogLikelihoods: number[];
    logRank: number;
    perturbedLogRanks: number[];
    regeneratedLogLikelihoods: number[];
    detectGptD: number;
    detectGptZ: number;
    npr: number;
    dnaGpt: number;
  }
  const golden = readFixtureJson<{
    perturbation: Perturbation[];
    vectorFeatures: { vectors: Record<string, number[]>; features: { expr: string; value: number }[] };
  }>('detect/aggregates.json');

  it('DetectGPT, NPR and DNA-GPT', () => {
    for (const row of golden.perturbation) {
      const { d, z } = detectGptFrom(row.logLikelihood, row.perturbedLogLikelihoods);
      near(d, row.detectGptD, 1e-9);
      near(z, row.detectGptZ, 1e-9);
      near(nprFrom(row.logRank, row.perturbedLogRanks), row.npr, 1e-9);
      near(dnaGptFrom(row.logLikelihood, row.regeneratedLogLikelihoods), row.dnaGpt, 1e-9);
    }
  });

  it('Ghostbuster expressions', () => {
    const { vectors, features } = golden.vectorFeatures;
    for (const { expr, value } of features) near(ghostbusterFeature(expr, vectors), value, 1e-9);
    expect(features.map(({ expr }) => expr)).toEqual(expect.arrayContaining([...GHOSTBUSTER_EXPRESSIONS]));
  });
});

describe('GLTR on real GPT-2 output', () => {
  const { cases } = readFixtureJson<{
    cases: { rank0: number[]; gltr: { counts: number[]; fracTop10Raid: number } }[];
  }>('detect/gltr_gpt2.json');

  it('counts the buckets', () => {
    for (const { rank0, gltr } of cases) {
      const { counts, topShare } = gltrCounts(rank0.map((rank) => rank + 1));
      expect(counts).toEqual(gltr.counts);
      near(topShare, gltr.fracTop10Raid, 1e-12);
    }
  });
});

describe('watermark', () => {
  interface WatermarkCase {
    vocabSize: number;
    gamma: number;
    inputIds: number[];
    greenMask: boolean[];
    all: { scored: number; green: number; z: number; p: number };
    uniqueBigrams: { scored: number; green: number; z: number; p: number };
    windowMax: { z: number; start: number; end: number };
    probe: {
      prev: number;
      permutationHead: number[] /** Null for large vocabularies. */;
      green: number[] | null;
    }[];
  }
  const golden = readFixtureJson<{
    randperm: { seed: number; randperm10: number[]; randperm50257Head: number[] }[];
    cases: WatermarkCase[];
  }>('detect/watermark.json');

  it('repeats the permutations of torch on a CPU', () => {
    for (const { seed, randperm10, randperm50257Head } of golden.randperm) {
      expect([...torchRandomPermutation(seed, 10)]).toEqual(randperm10);
      const head = torchRandomPermutation(seed, 50257, randperm50257Head.length);
      expect([...head]).toEqual(randperm50257Head);
    }
  });

  it('finds masks, counts, z, p and the best window', () => {
    for (const row of golden.cases) {
      const ids = Int32Array.from(row.inputIds);
      const { vocabSize: vocabulary, gamma } = row;
      const unique = detectWatermark(ids, { vocabulary, gamma });
      const all = detectWatermark(ids, { vocabulary, gamma, uniqueNgrams: false, scheme: 'lefthash' });
      expect([...all.greenMask].map(Boolean)).toEqual(row.greenMask);
      for (const [actual, expected] of [
        [unique, row.uniqueBigrams],
        [all, row.all],
      ] as const) {
        expect([actual.scored, actual.green]).toEqual([expected.scored, expected.green]);
        near(actual.z, expected.z, 1e-12);
        near(actual.p, expected.p, 1e-9);
      }
      near(all.window.z, row.windowMax.z, 1e-12);
      expect([all.window.start, all.window.end]).toEqual([row.windowMax.start, row.windowMax.end]);
      for (const { prev, green } of row.probe) {
        if (green !== null) expect([...greenList(Int32Array.of(prev), { vocabulary, gamma })]).toEqual(green);
      }
    }
  });
});

describe('Glimpse', () => {
  interface TopKRow {
    K: number;
    rankSize: number;
    tokens: { topLogProbs: number[]; tokenLogProb: number }[];
    geometricLambda: number[];
    entropyGeometric: number;
    entropyTrue: number;
    entropyLower: number;
    entropyUpper: number;
    fastDetectGptGeometric: number;
    logLikelihood: number;
  }
  const { rows } = readFixtureJson<{ rows: TopKRow[] }>('detect/topk.json');

  it('estimates from the top 5 and 20, with bounds that hold the true entropy', () => {
    for (const row of rows) {
      const tokens = row.tokens.map((token) => ({
        logProb: token.tokenLogProb,
        topLogProbs: token.topLogProbs,
      }));
      const estimate = glimpse(tokens, { rankSize: row.rankSize, vocabulary: goldenCase('v1000').V });
      row.geometricLambda.forEach((lambda, i) => {
        near(estimate.lambda[i]!, lambda, 1e-9);
      });
      near(estimate.entropy, row.entropyGeometric, 1e-9);
      near(estimate.fastDetectGpt, row.fastDetectGptGeometric, 1e-9);
      near(estimate.entropyLower, row.entropyLower, 1e-9);
      near(estimate.entropyUpper, row.entropyUpper, 1e-9);
      near(estimate.logLikelihood, row.logLikelihood, 1e-9);
      expect(estimate.entropyLowerSorted).toBeGreaterThanOrEqual(estimate.entropyLower);
      expect(estimate.entropyLowerSorted).toBeLessThanOrEqual(row.entropyTrue);
      expect(estimate.entropyUpper).toBeGreaterThanOrEqual(row.entropyTrue);
    }
  });
});
