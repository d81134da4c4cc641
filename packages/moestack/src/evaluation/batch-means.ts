import type { BenchmarkInterval } from '@moestack/schemas';

/** Consecutive tokens depend on each other; means of this many hardly do. */
const BATCH_TOKENS = 128;
/** Fewer batches give no interval worth the name. */
const FEWEST_BATCHES = 10;
const LEVEL = 0.95;
const NORMAL_QUANTILE = 1.959963984540054;

/** Mean of a series of dependent values, and how sure it is, by non-overlapping batch means. */
export class BatchMeans {
  private total = 0;
  private count = 0;
  private batch = 0;
  private batches = 0;
  private mean = 0;
  private squares = 0;

  add(value: number): void {
    this.total += value;
    this.batch += value;
    this.count++;
    if (this.count % BATCH_TOKENS !== 0) return;
    // Welford's update over the means of whole batches.
    const mean = this.batch / BATCH_TOKENS;
    const delta = mean - this.mean;
    this.batches++;
    this.mean += delta / this.batches;
    this.squares += delta * (mean - this.mean);
    this.batch = 0;
  }

  get samples(): number {
    return this.count;
  }

  get average(): number {
    return this.count === 0 ? 0 : this.total / this.count;
  }

  /** Undefined for too few values. */
  interval(): BenchmarkInterval | undefined {
    if (this.batches < FEWEST_BATCHES) return undefined;
    const error = Math.sqrt(this.squares / (this.batches - 1) / this.batches);
    const half = NORMAL_QUANTILE * error;
    const method = `batch means of ${BATCH_TOKENS} tokens, normal`;
    return { low: this.average - half, high: this.average + half, level: LEVEL, method };
  }
}
