import { TimeoutError } from '@moestack/schemas/errors';
import { needBetween } from '../scores/checks.js';
import { DEFAULT_TIMEOUT_SECONDS, type ScoreOptions } from './language-model.js';

/** A signal that fires with the caller's or when the time is up, and a check for work that cannot be interrupted. */
export class Deadline {
  readonly signal: AbortSignal;
  readonly #what: string;
  readonly #timeoutSeconds: number;
  readonly #timeout: AbortSignal;

  constructor(what: string, options: ScoreOptions) {
    const seconds = options.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS;
    needBetween('timeoutSeconds', seconds, 0, 2_000_000);
    this.#what = what;
    this.#timeoutSeconds = seconds;
    this.#timeout = AbortSignal.timeout(Math.ceil(seconds * 1000));
    this.signal =
      options.signal === undefined ? this.#timeout : AbortSignal.any([options.signal, this.#timeout]);
  }

  /** Throws the caller's reason, or a TimeoutError. */
  check(): void {
    if (!this.signal.aborted) return;
    throw this.#timeout.aborted && this.signal.reason === this.#timeout.reason
      ? new TimeoutError(this.#what, this.#timeoutSeconds)
      : this.signal.reason;
  }

  /** Waits for a promise no longer than the deadline; what it stands for goes on in the background. */
  wait<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const stop = (): void => {
        try {
          this.check();
        } catch (error) {
          reject(error);
        }
      };
      const done = (): void => this.signal.removeEventListener('abort', stop);
      this.signal.addEventListener('abort', stop);
      stop();
      promise.then(
        (value) => {
          done();
          resolve(value);
        },
        (error: unknown) => {
          done();
          reject(error);
        },
      );
    });
  }
}
