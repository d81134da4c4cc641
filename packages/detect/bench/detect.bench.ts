import { delong, evaluate, fromLogits, TextScorer } from '@moestack/detect';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';

/** Rows that are kept in memory and used in turn: 8 rows of two models stay clear of the caches for large vocabularies. */
const ROWS = 8;
/** Positions per call; figures are given for 512. */
const POSITIONS = 64;
const TEXT = 512;

function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Logits of a plausible spread: most tokens far below the best. */
function rows(vocabulary: number, seed: number): Float32Array[] {
  const random = generator(seed);
  return Array.from({ length: ROWS }, () =>
    Float32Array.from({ length: vocabulary }, () => 24 * random() * random() - 12),
  );
}

/** What a direct transcription of the formulas does: maxima, two sums of exponentials, cross-entropy and variance. */
function naive(observer: Float32Array, performer: Float32Array, token: number): number {
  let maxP = -Infinity;
  let maxO = -Infinity;
  let rank = 1;
  const value = performer[token]!;
  for (let v = 0; v < performer.length; v++) {
    if (performer[v]! > maxP) maxP = performer[v]!;
    if (observer[v]! > maxO) maxO = observer[v]!;
    if (performer[v]! > value) rank++;
  }
  let sumP = 0;
  let sumO = 0;
  let entropy = 0;
  let first = 0;
  let second = 0;
  for (let v = 0; v < performer.length; v++) {
    const x = performer[v]! - maxP;
    const p = Math.exp(x);
    const o = Math.exp(observer[v]! - maxO);
    sumP += p;
    entropy += p * x;
    sumO += o;
    first += o * x;
    second += o * x * x;
  }
  return rank + Math.log(sumP) - entropy / sumP - first / sumO + second / sumO - (first / sumO) ** 2;
}

function scoring(vocabulary: number): BenchGroup {
  const observer = rows(vocabulary, 1);
  const performer = rows(vocabulary, 2);
  // Milliseconds for a text of 512 tokens, measured on fewer.
  const scaled = (name: string, run: () => unknown): BenchCase => ({
    name,
    unit: 'texts/s',
    work: POSITIONS / TEXT,
    run,
  });
  const score = (precision: 'fast' | 'f64') => (): void => {
    const scorer = new TextScorer({ vocabulary, precision });
    for (let t = 0; t < POSITIONS; t++) {
      scorer.push(performer[t % ROWS]!, observer[t % ROWS]!, { nextToken: t });
    }
    scorer.finish();
  };
  return {
    name: `two models, 512 tokens, vocabulary ${vocabulary}`,
    rounds: 9,
    cases: [
      scaled('plain loop', () => {
        let sum = 0;
        for (let t = 0; t < POSITIONS; t++) sum += naive(observer[t % ROWS]!, performer[t % ROWS]!, t);
        return sum;
      }),
      scaled('TextScorer', score('fast')),
      scaled('TextScorer f64', score('f64')),
    ],
    ratios: [
      { name: 'TextScorer / plain loop', numerator: 'TextScorer', denominator: 'plain loop', aim: 1.8 },
    ],
  };
}

function evaluation(n: number): BenchGroup {
  const random = generator(3);
  const scores = Float64Array.from({ length: n }, () => random() + random() + random());
  const labels = Uint8Array.from({ length: n }, (_, i) => i & 1);
  const human = scores.filter((_, i) => (i & 1) === 0);
  const ai = scores.filter((_, i) => (i & 1) === 1);
  return {
    name: `evaluation of ${n} scores`,
    rounds: 9,
    cases: [
      { name: 'evaluate', unit: 'Mscore/s', work: n / 1e6, run: () => evaluate(scores, labels) },
      { name: 'delong', unit: 'Mscore/s', work: n / 1e6, run: () => delong(human, ai) },
    ],
  };
}

function small(): BenchGroup {
  const [vocab, length] = [1000, 64];
  const random = generator(4);
  const logits = (): Float32Array => Float32Array.from({ length: vocab * length }, () => 10 * random());
  const input = {
    vocab,
    observer: logits(),
    performer: logits(),
    ids: Int32Array.from({ length }, (_, t) => t),
  };
  return {
    name: 'fromLogits, 64 tokens of 1000',
    cases: [
      { name: 'fast', unit: 'texts/s', work: 1, run: () => fromLogits('binoculars', input) },
      {
        name: 'f64',
        unit: 'texts/s',
        work: 1,
        run: () => fromLogits('binoculars', input, { precision: 'f64' }),
      },
    ],
  };
}

export default defineBench({
  name: 'detect',
  groups: () => [
    scoring(16_384),
    scoring(65_024),
    scoring(151_936),
    evaluation(10_000),
    evaluation(100_000),
    evaluation(1_000_000),
    small(),
  ],
});
