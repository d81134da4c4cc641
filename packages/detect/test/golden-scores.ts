import type { PairLogits } from '@moestack/detect';
import { readFixture, readFixtureJson } from '@moestack/fixtures';

/** Numbers of golden JSON; NaN and infinities are strings there. */
export type GoldenNumber = number | 'NaN' | 'Infinity' | '-Infinity';

export interface BinocularsColumn {
  ppl: GoldenNumber[];
  xPpl: GoldenNumber[];
  score: GoldenNumber[];
  pplMedian: GoldenNumber[];
  xPplMedian: GoldenNumber[];
  scoreMedian: GoldenNumber[];
  xPplAligned: GoldenNumber[];
  scoreAligned: GoldenNumber[];
}

export interface RowColumn {
  nTokens: number;
  fastDetectGpt: number;
  logLikelihood: number;
  meanRank: number;
  meanLogRank: number;
  entropy: number;
  lrr: number;
  gltrCounts: number[];
  gltrFracTop10Raid: number;
  gltrFracP: number[];
  gltrTop10EntropyRaw: number[];
  tokenLogProb: number[];
  tokenRank: number[];
  tokenEntropy: number[];
  tokenCrossMean: number[];
  tokenCrossVar: number[];
}

interface LastdeCase {
  embed: number;
  epsilon: number;
  tau: number;
  de: number[];
  aggStd: number;
  lastde: number;
}

export interface GoldenRow {
  row: number;
  start: number;
  end: number;
  f32: RowColumn;
  f64: RowColumn;
  f32_white: { fastDetectGpt: number };
  f64_white: { fastDetectGpt: number };
  f64_vocabCut?: { fastDetectGpt: number };
  /** Absent where the text is too short. */
  lastde: { open?: LastdeCase; closed?: LastdeCase };
  sampled?: { nSamples: number; samples: number[][]; discrepancy: number };
  lastdePlusPlus?: { value: number; x: number; epsilon: number; tau: number; embed: number };
}

export interface GoldenCase {
  name: string;
  B: number;
  T: number;
  V: number;
  padTokenId: number;
  tensors: Record<'observerLogits' | 'performerLogits', { file: string; dtype: 'f32' | 'bf16' }>;
  inputIds: number[][];
  attentionMask: number[][];
  leftPaddedRow: number | null;
  binoculars: Record<string, BinocularsColumn>;
  rows: GoldenRow[];
}

export function goldenCase(name: string): GoldenCase {
  return readFixtureJson<GoldenCase>(`detect/scores/${name}.json`);
}

function tensor(golden: GoldenCase, name: 'observerLogits' | 'performerLogits'): Float32Array {
  const { file, dtype } = golden.tensors[name];
  const bytes = readFixture(`detect/scores/${file}`).slice();
  if (dtype === 'f32') return new Float32Array(bytes.buffer);
  const words = Uint32Array.from(new Uint16Array(bytes.buffer), (half) => half << 16);
  return new Float32Array(words.buffer);
}

/** All rows of a case, padding included. */
export function goldenRows(golden: GoldenCase): PairLogits[] {
  const observer = tensor(golden, 'observerLogits');
  const performer = tensor(golden, 'performerLogits');
  const size = golden.T * golden.V;
  return golden.inputIds.map((ids, b) => ({
    vocab: golden.V,
    observer: observer.subarray(b * size, (b + 1) * size),
    performer: performer.subarray(b * size, (b + 1) * size),
    ids: Int32Array.from(ids),
    mask: Uint8Array.from(golden.attentionMask[b]!),
    padTokenId: golden.padTokenId,
  }));
}

/** A row with its columns cut to the first `vocab`. */
export function cutVocabulary(row: PairLogits, vocab: number): PairLogits {
  const cut = (logits: Float32Array): Float32Array => {
    const out = new Float32Array(row.ids.length * vocab);
    for (let t = 0; t < row.ids.length; t++) {
      out.set(logits.subarray(t * row.vocab, t * row.vocab + vocab), t * vocab);
    }
    return out;
  };
  return { ...row, vocab, observer: cut(row.observer), performer: cut(row.performer) };
}

/** |a - b| relative to |b| (absolute below 1). */
export function distance(a: number, b: number): number {
  if (Object.is(a, b)) return 0;
  return Math.abs(a - b) / Math.max(Math.abs(b), 1e-300);
}
