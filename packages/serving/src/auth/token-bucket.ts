import type { Clock } from '../clock.js';

/**
 * Holds at most a minute's worth and fills evenly. What is spent is known only afterwards, so it may go below
 * zero; then it opens again when that is made up for.
 */
export class TokenBucket {
  readonly perMinute: number;
  readonly #clock: Clock;
  #level: number;
  #atUs: number;

  constructor(perMinute: number, clock: Clock) {
    this.perMinute = perMinute;
    this.#clock = clock;
    this.#level = perMinute;
    this.#atUs = clock.nowUs();
  }

  /** What may be spent now. */
  get level(): number {
    const nowUs = this.#clock.nowUs();
    this.#level = Math.min(this.perMinute, this.#level + ((nowUs - this.#atUs) / 60e6) * this.perMinute);
    this.#atUs = nowUs;
    return this.#level;
  }

  /** Takes out, or with a negative amount puts back. */
  spend(amount: number): void {
    this.#level = Math.min(this.perMinute, this.level - amount);
  }

  /** Seconds until it holds an amount (at most a minute's worth). */
  waitSeconds(amount: number): number {
    const missing = Math.min(amount, this.perMinute) - this.level;
    return missing <= 0 ? 0 : (missing / this.perMinute) * 60;
  }
}
