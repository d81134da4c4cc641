import type { SloStats, SloTargets } from './engine-stats.js';

const BUCKET_US = 1_000_000;
/** What a bucket counts. */
const Column = {
  requests: 0,
  met: 1,
  metTtft: 2,
  metTpot: 3,
  metTokens: 4,
  generatedTokens: 5,
  promptTokens: 6,
  length: 7,
} as const;

/** How one request fared; what is undefined never came. */
export interface SloOutcome {
  readonly ttftSeconds: number | undefined;
  /** Undefined also for an answer of one token, which then meets its target. */
  readonly tpotSeconds: number | undefined;
  readonly generatedTokens: number;
  readonly completed: boolean;
}

/** Counts of the last seconds in buckets of one second; memory is constant. */
export class SloWindow {
  readonly targets: SloTargets;
  readonly #buckets: Float64Array;
  /** The second that each bucket is about. */
  readonly #seconds: Float64Array;
  readonly #windowSeconds: number;
  readonly #startUs: number;

  constructor(targets: SloTargets, windowSeconds: number, startUs: number) {
    this.targets = targets;
    this.#windowSeconds = windowSeconds;
    this.#startUs = startUs;
    this.#buckets = new Float64Array(windowSeconds * Column.length);
    this.#seconds = new Float64Array(windowSeconds).fill(-1);
  }

  tokens(nowUs: number, generated: number, prompt: number): void {
    const at = this.#bucket(nowUs);
    this.#buckets[at + Column.generatedTokens]! += generated;
    this.#buckets[at + Column.promptTokens]! += prompt;
  }

  end(nowUs: number, outcome: SloOutcome): void {
    const { ttftSeconds = Number.POSITIVE_INFINITY, tpotSeconds = Number.POSITIVE_INFINITY } = this.targets;
    const isInTime = outcome.completed && (outcome.ttftSeconds ?? Number.POSITIVE_INFINITY) <= ttftSeconds;
    const isFast = outcome.completed && (outcome.tpotSeconds ?? 0) <= tpotSeconds;
    const at = this.#bucket(nowUs);
    this.#buckets[at + Column.requests]! += 1;
    if (isInTime) this.#buckets[at + Column.metTtft]! += 1;
    if (isFast) this.#buckets[at + Column.metTpot]! += 1;
    if (!isInTime || !isFast) return;
    this.#buckets[at + Column.met]! += 1;
    this.#buckets[at + Column.metTokens]! += outcome.generatedTokens;
  }

  snapshot(nowUs: number): SloStats & { generatedTokensPerSecond: number; promptTokensPerSecond: number } {
    const sums = new Float64Array(Column.length);
    const second = Math.floor(nowUs / BUCKET_US);
    for (let i = 0; i < this.#windowSeconds; i++) {
      if (this.#seconds[i]! <= second - this.#windowSeconds) continue;
      for (let column = 0; column < Column.length; column++) {
        sums[column]! += this.#buckets[i * Column.length + column]!;
      }
    }
    const requests = sums[Column.requests]!;
    const fraction = (count: number) => (requests > 0 ? count / requests : 1);
    // A server that is younger than the window has not had all of it to serve in.
    const seconds = Math.max(1, Math.min(this.#windowSeconds, (nowUs - this.#startUs) / 1e6));
    return {
      targets: this.targets,
      windowSeconds: this.#windowSeconds,
      requests,
      attainment: fraction(sums[Column.met]!),
      ttftAttainment: fraction(sums[Column.metTtft]!),
      tpotAttainment: fraction(sums[Column.metTpot]!),
      goodputRequestsPerSecond: sums[Column.met]! / seconds,
      goodputTokensPerSecond: sums[Column.metTokens]! / seconds,
      generatedTokensPerSecond: sums[Column.generatedTokens]! / seconds,
      promptTokensPerSecond: sums[Column.promptTokens]! / seconds,
    };
  }

  /** Where the bucket of a moment starts, emptied if it was about an earlier one. */
  #bucket(nowUs: number): number {
    const second = Math.floor(nowUs / BUCKET_US);
    const index = second % this.#windowSeconds;
    const at = index * Column.length;
    if (this.#seconds[index] !== second) {
      this.#seconds[index] = second;
      this.#buckets.fill(0, at, at + Column.length);
    }
    return at;
  }
}
