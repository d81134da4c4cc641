import type { BenchmarkFigure } from '@moestack/schemas';
import { CliError } from '../errors.js';
import { BatchMeans } from './batch-means.js';
import { klDivergence, type RowScore, scoreRow } from './row-scores.js';

/** One prediction of the subject, and of the baseline beside it. */
export interface Prediction {
  /** `[rows, vocabulary]`. */
  readonly logits: Float32Array;
  readonly original: Float32Array | undefined;
  readonly row: number;
  readonly vocabulary: number;
  /** The token that came. */
  readonly target: number;
}

/** Collects the scores of tokens and makes figures of them. */
export class TokenScores {
  private readonly subject = new BatchMeans();
  private readonly baseline = new BatchMeans();
  private readonly difference = new BatchMeans();
  private readonly divergence = new BatchMeans();
  private readonly compares: boolean;
  private divergences = new Float32Array(1024);
  private agreements = 0;
  private bytes = 0;
  private readonly score: RowScore = { logNormaliser: 0, best: 0 };
  private readonly originalScore: RowScore = { logNormaliser: 0, best: 0 };

  /** @param compares - whether there is a baseline. */
  constructor(compares: boolean) {
    this.compares = compares;
  }

  add({ logits, original, row, vocabulary, target }: Prediction): void {
    const { score, originalScore } = this;
    scoreRow(logits, row, vocabulary, score);
    const loss = score.logNormaliser - logits[row * vocabulary + target]!;
    this.subject.add(finite(loss, 'model'));
    if (original === undefined) return;
    scoreRow(original, row, vocabulary, originalScore);
    const originalLoss = originalScore.logNormaliser - original[row * vocabulary + target]!;
    this.baseline.add(finite(originalLoss, 'baseline'));
    this.difference.add(loss - originalLoss);
    const divergence = klDivergence(original, logits, row, vocabulary, originalScore, score);
    this.keep(divergence);
    this.divergence.add(divergence);
    if (score.best === originalScore.best) this.agreements++;
  }

  /** Bytes of text of the token just added. */
  addBytes(count: number): void {
    this.bytes += count;
  }

  figures(): BenchmarkFigure[] {
    const figures = lossFigures('subject', this.subject, this.bytes);
    if (!this.compares) return figures;
    const { samples } = this.divergence;
    const sorted = this.divergences.slice(0, samples).sort();
    const quantile = (share: number): number => sorted[Math.min(samples - 1, Math.floor(share * samples))]!;
    const unit = 'nats/token';
    const of = 'comparison';
    figures.push(
      ...lossFigures('baseline', this.baseline, this.bytes),
      {
        metric: 'kl-divergence',
        of,
        value: this.divergence.average,
        unit,
        samples,
        ...intervalOf(this.divergence),
      },
      { metric: 'kl-divergence-median', of, value: quantile(0.5), unit, samples },
      { metric: 'kl-divergence-p99', of, value: quantile(0.99), unit, samples },
      { metric: 'kl-divergence-maximum', of, value: quantile(1), unit, samples },
      {
        metric: 'negative-log-likelihood-difference',
        of,
        value: this.difference.average,
        unit,
        samples,
        ...intervalOf(this.difference),
      },
      { metric: 'top-1-agreement', of, value: this.agreements / samples, samples },
    );
    return figures;
  }

  private keep(divergence: number): void {
    const { samples } = this.divergence;
    if (samples === this.divergences.length) {
      const longer = new Float32Array(2 * samples);
      longer.set(this.divergences);
      this.divergences = longer;
    }
    this.divergences[samples] = divergence;
  }
}

/** @throws {@link CliError} where a model computed NaN or infinity: no figure would mean anything. */
function finite(loss: number, which: string): number {
  if (Number.isFinite(loss)) return loss;
  throw new CliError({
    code: 'cli/not-finite',
    message: `the ${which} gives ${loss} as loss of a token`,
    value: loss,
    remedy: 'look for infinite or NaN weights with moestack fp8 inspect',
  });
}

function lossFigures(of: 'subject' | 'baseline', losses: BatchMeans, bytes: number): BenchmarkFigure[] {
  const { samples, average } = losses;
  const figures: BenchmarkFigure[] = [
    {
      metric: 'negative-log-likelihood',
      of,
      value: average,
      unit: 'nats/token',
      samples,
      ...intervalOf(losses),
    },
    { metric: 'perplexity', of, value: Math.exp(average), samples },
  ];
  if (bytes > 0) {
    const value = (average * samples) / Math.LN2 / bytes;
    figures.push({ metric: 'bits-per-byte', of, value, unit: 'bits/byte', samples });
  }
  return figures;
}

function intervalOf(means: BatchMeans): Pick<BenchmarkFigure, 'interval'> {
  const interval = means.interval();
  return interval === undefined ? {} : { interval };
}
