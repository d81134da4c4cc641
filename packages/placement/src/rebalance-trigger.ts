import { badConfig } from './operands.js';

/** When to rebalance. */
export interface RebalanceTriggerOptions {
  /** Longest time between two plans; default 600. */
  periodSeconds?: number;
  /** Rebalance early when max / mean - 1 exceeds this; default Infinity (never early). */
  imbalance?: number;
  /** After an early rebalancing the imbalance must first fall this far below the threshold before another; default a quarter of it. */
  hysteresis?: number;
  /** Shortest time between two plans; default 60. */
  minIntervalSeconds?: number;
}

/** Why a rebalancing is due. */
export type RebalanceReason = 'period' | 'imbalance';

/** Decides when to rebalance: by period, and early on imbalance with hysteresis, so that load that cannot be balanced does not trigger for ever. */
export class RebalanceTrigger {
  readonly #periodUs: number;
  readonly #minIntervalUs: number;
  readonly #imbalance: number;
  readonly #hysteresis: number;
  #lastUs: number | undefined;
  #armed = true;

  constructor(options: RebalanceTriggerOptions = {}) {
    const { periodSeconds = 600, imbalance = Number.POSITIVE_INFINITY, minIntervalSeconds = 60 } = options;
    const hysteresis = options.hysteresis ?? (imbalance === Number.POSITIVE_INFINITY ? 0 : imbalance / 4);
    for (const [name, value] of Object.entries({
      periodSeconds,
      imbalance,
      hysteresis,
      minIntervalSeconds,
    })) {
      if (!(value >= 0))
        throw badConfig(`expected a ${name} of at least 0, got ${value}`, String(value), `pass ${name}`);
    }
    this.#periodUs = periodSeconds * 1e6;
    this.#minIntervalUs = minIntervalSeconds * 1e6;
    this.#imbalance = imbalance;
    this.#hysteresis = hysteresis;
  }

  /** Starts the period, if nothing has yet. */
  start(nowUs: number): void {
    this.#lastUs ??= nowUs;
  }

  /**
   * Whether to rebalance now; a reason means that the caller does. The first call starts the period.
   *
   * @param imbalance - max / mean - 1 of the last bucket, the highest or the mean over layers as the caller prefers.
   */
  check(nowUs: number, imbalance: number): RebalanceReason | undefined {
    this.start(nowUs);
    if (imbalance <= this.#imbalance - this.#hysteresis) this.#armed = true;
    const since = nowUs - this.#lastUs!;
    if (since < this.#minIntervalUs) return undefined;
    let reason: RebalanceReason | undefined;
    if (since >= this.#periodUs) reason = 'period';
    else if (this.#armed && imbalance > this.#imbalance) reason = 'imbalance';
    if (reason === undefined) return undefined;
    if (reason === 'imbalance') this.#armed = false;
    this.#lastUs = nowUs;
    return reason;
  }
}
