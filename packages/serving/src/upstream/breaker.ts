import type { Clock } from '../clock.js';
import type { BreakerState } from '../observer.js';

/** Options of a {@link Breaker}. */
export interface BreakerOptions {
  /** Failures in a row that open it; default 5. */
  readonly failures?: number;
  /** How long it stays open before one request tries again; default 10. */
  readonly openSeconds?: number;
  readonly clock: Clock;
  readonly onChange?: (from: BreakerState, to: BreakerState) => void;
}

/**
 * Keeps requests away from a server that fails: closed until `failures` in a row, then open for `openSeconds`, then
 * half-open, when one request decides.
 */
export class Breaker {
  readonly #failures: number;
  readonly #openUs: number;
  readonly #clock: Clock;
  readonly #onChange: (from: BreakerState, to: BreakerState) => void;
  #state: BreakerState = 'closed';
  #failed = 0;
  #openedUs = 0;
  #isTrying = false;

  constructor(options: BreakerOptions) {
    this.#failures = options.failures ?? 5;
    this.#openUs = (options.openSeconds ?? 10) * 1e6;
    this.#clock = options.clock;
    this.#onChange = options.onChange ?? (() => undefined);
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** Whether a request may be sent now. */
  get isReady(): boolean {
    if (this.#state === 'closed') return true;
    if (this.#isTrying) return false;
    return this.#state === 'half-open' || this.#clock.nowUs() - this.#openedUs >= this.#openUs;
  }

  /** Seconds until a request may be tried; 0 = now. */
  get waitSeconds(): number {
    if (this.#state !== 'open') return 0;
    return Math.max(0, (this.#openedUs + this.#openUs - this.#clock.nowUs()) / 1e6);
  }

  /** A request is being sent; followed by exactly one of {@link success}, {@link failure}, {@link neutral}. */
  begin(): void {
    if (this.#state === 'closed') return;
    this.#isTrying = true;
    this.#change('half-open');
  }

  success(): void {
    this.#failed = 0;
    this.#isTrying = false;
    this.#change('closed');
  }

  failure(): void {
    this.#failed += 1;
    this.#isTrying = false;
    if (this.#state === 'closed' && this.#failed < this.#failures) return;
    this.#openedUs = this.#clock.nowUs();
    this.#change('open');
  }

  /** The request says nothing about the server: the client left, say. */
  neutral(): void {
    this.#isTrying = false;
  }

  #change(to: BreakerState): void {
    const from = this.#state;
    if (from === to) return;
    this.#state = to;
    this.#onChange(from, to);
  }
}
