import { GRAM_BUCKETS, type GramKind, hashedGrams } from '../src/embedded-model/hashed-grams.js';
import { plainProse } from '../src/embedded-model/plain-prose.js';
import {
  type GramWeights,
  gramVector,
  type ProseModel,
  positionsOf,
  type StyleWeights,
  standardize,
} from '../src/embedded-model/prose-model.js';
import { styleFeatures } from '../src/embedded-model/style-features.js';
import { fitLogistic } from './logistic.js';
import type { FitText } from './texts.js';

/**
 * Weight of base-model continuations: they carry their human beginning's style and would teach noise. In the calibration it stands for
 * how rare they are: at 0.3, out-of-fold calibration errors stay small from none to a quarter of them among AI texts.
 */
export const CONTINUATION_WEIGHT = 0.3;
const STYLE_L2 = 50;
const GRAM_L2 = 0.3;
const MINIMUM_TEXTS = 2;
/** Inverse document frequencies are kept in 4 bits. */
export const IDF_LEVELS = 16;

interface Features {
  readonly style: Float64Array;
  readonly grams: Readonly<Record<GramKind, Map<number, number>>>;
}

const cache = new Map<string, Features>();

function featuresOf(text: string): Features {
  const known = cache.get(text);
  if (known !== undefined) return known;
  const plain = plainProse(text).text;
  const features = {
    style: styleFeatures(plain),
    grams: { grammar: hashedGrams(plain, 'grammar'), words: hashedGrams(plain, 'words') },
  };
  cache.set(text, features);
  return features;
}

/** Fits all parts on some texts. */
export function fitProseModel(texts: readonly FitText[]): ProseModel {
  const labels = Float64Array.from(texts, ({ isAi }) => (isAi ? 1 : 0));
  const rowWeights = Float64Array.from(texts, ({ isAi, isContinuation }) =>
    isAi && isContinuation ? CONTINUATION_WEIGHT : 1,
  );
  const features = texts.map(({ text }) => featuresOf(text));
  const size = features[0]!.style.length;
  const mean = new Float64Array(size);
  const deviation = new Float64Array(size);
  for (const { style } of features) for (let i = 0; i < size; i++) mean[i]! += style[i]! / texts.length;
  for (const { style } of features)
    for (let i = 0; i < size; i++) deviation[i]! += (style[i]! - mean[i]!) ** 2 / texts.length;
  for (let i = 0; i < size; i++) deviation[i] = Math.sqrt(deviation[i]!) || 1;
  const unfitted: StyleWeights = { mean, deviation, weights: new Float64Array(size), bias: 0 };
  const at = Int32Array.from({ length: size }, (_, i) => i);
  const solution = fitLogistic(
    features.map(({ style }) => ({ at, value: standardize(style, unfitted) })),
    labels,
    size,
    { l2: STYLE_L2, iterations: 100, rowWeights },
  );
  return {
    style: { ...unfitted, weights: solution.slice(0, size), bias: solution[size]! },
    grams: (['grammar', 'words'] as const).map((kind) => {
      const counts = features.map(({ grams }) => grams[kind]);
      return fitGrams(kind, counts, labels, rowWeights);
    }),
  };
}

function fitGrams(
  kind: GramKind,
  counts: readonly Map<number, number>[],
  labels: Float64Array,
  rowWeights: Float64Array,
): GramWeights {
  const frequency = new Float64Array(GRAM_BUCKETS);
  for (const map of counts) for (const bucket of map.keys()) frequency[bucket]!++;
  const bitmap = new Uint8Array(GRAM_BUCKETS / 8);
  const idf: number[] = [];
  frequency.forEach((texts, bucket) => {
    if (texts < MINIMUM_TEXTS) return;
    bitmap[bucket >> 3]! |= 1 << (bucket & 7);
    idf.push(Math.log((1 + counts.length) / (1 + texts) + 1));
  });
  const [low, high] = [Math.min(...idf), Math.max(...idf)];
  const step = (high - low) / (IDF_LEVELS - 1);
  const model = {
    position: positionsOf(bitmap),
    idf: Float64Array.from(idf, (value) => low + step * Math.round((value - low) / step)),
  };
  const solution = fitLogistic(
    counts.map((map) => gramVector(map, model)),
    labels,
    idf.length,
    { l2: GRAM_L2, iterations: 60, rowWeights },
  );
  return { kind, ...model, weights: solution.slice(0, idf.length), bias: solution[idf.length]! };
}
