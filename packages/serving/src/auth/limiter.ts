import type { Usage } from '../backend.js';
import type { Clock } from '../clock.js';
import { ServingError } from '../errors.js';
import type { Limits } from './api-keys.js';
import { TokenBucket } from './token-bucket.js';

/** Tokens that a request has used; without `promptTokens` the estimate of the prompt stays. */
export interface UsedTokens extends Partial<Pick<Usage, 'promptTokens'>> {
  readonly completionTokens: number;
}

/** What a request holds while it runs. */
export interface Lease {
  /** Corrects the estimate by what was used; without it the estimate stays. Further calls do nothing. */
  settle(used: UsedTokens | undefined): void;
}

const secondsPerDay = 86_400;

/** Counts what one client, or all together, use. */
export class Limiter {
  readonly #name: string;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #requests: TokenBucket | undefined;
  readonly #tokens: TokenBucket | undefined;
  #concurrent = 0;
  #day = 0;
  #tokensToday = 0;

  /**
   * @param name - as it appears in errors, such as `API key a`.
   */
  constructor(name: string, limits: Limits, clock: Clock) {
    this.#name = name;
    this.#limits = limits;
    this.#clock = clock;
    const { requestsPerMinute, tokensPerMinute } = limits;
    if (requestsPerMinute !== undefined) this.#requests = new TokenBucket(requestsPerMinute, clock);
    if (tokensPerMinute !== undefined) this.#tokens = new TokenBucket(tokensPerMinute, clock);
  }

  /** Whether tokens are counted. */
  get countsTokens(): boolean {
    return this.#tokens !== undefined || this.#limits.tokensPerDay !== undefined;
  }

  /**
   * Lets a request in.
   *
   * @param estimate - tokens that its prompt is taken to have until the usage is known.
   * @throws {@link ServingError} 429 with `retryAfterSeconds`; nothing is counted then.
   */
  admit(estimate: number): Lease {
    this.check(estimate);
    return this.take(estimate);
  }

  /** Counts a request that {@link check} has let pass. */
  take(estimate: number): Lease {
    this.#requests?.spend(1);
    this.#spend(estimate);
    this.#concurrent += 1;
    let isSettled = false;
    return {
      settle: (used) => {
        if (isSettled) return;
        isSettled = true;
        this.#concurrent -= 1;
        if (used !== undefined) {
          this.#spend((used.promptTokens ?? estimate) + used.completionTokens - estimate);
        }
      },
    };
  }

  /** @throws what {@link admit} throws. */
  check(estimate: number): void {
    const { maxConcurrent, tokensPerDay, requestsPerMinute, tokensPerMinute } = this.#limits;
    if (maxConcurrent !== undefined && this.#concurrent >= maxConcurrent) {
      throw this.#limited(`${maxConcurrent} requests at once`, 1);
    }
    if (this.#requests !== undefined && this.#requests.level < 1) {
      throw this.#limited(`${requestsPerMinute} requests a minute`, this.#requests.waitSeconds(1));
    }
    // A prompt longer than a minute's worth waits for a full bucket, not for ever.
    const wait = this.#tokens?.waitSeconds(Math.max(1, estimate)) ?? 0;
    if (wait > 0) throw this.#limited(`${tokensPerMinute} tokens a minute`, wait);
    this.#turnDay();
    if (tokensPerDay !== undefined && this.#tokensToday + estimate > tokensPerDay) {
      const untilMidnight = secondsPerDay - (this.#clock.unixSeconds() % secondsPerDay);
      throw this.#limited(`${tokensPerDay} tokens a day`, untilMidnight, 'insufficient_quota');
    }
  }

  #spend(tokens: number): void {
    this.#tokens?.spend(tokens);
    this.#turnDay();
    this.#tokensToday = Math.max(0, this.#tokensToday + tokens);
  }

  #turnDay(): void {
    const day = Math.floor(this.#clock.unixSeconds() / secondsPerDay);
    if (day === this.#day) return;
    this.#day = day;
    this.#tokensToday = 0;
  }

  #limited(what: string, waitSeconds: number, openAiCode = 'rate_limit_exceeded'): ServingError {
    const retryAfterSeconds = Math.max(1, Math.ceil(waitSeconds));
    return new ServingError({
      code: openAiCode === 'insufficient_quota' ? 'serving/quota-used-up' : 'serving/rate-limited',
      openAiCode,
      message: `${this.#name} is limited to ${what}`,
      remedy: `try again in ${retryAfterSeconds} s`,
      status: 429,
      retryAfterSeconds,
    });
  }
}
