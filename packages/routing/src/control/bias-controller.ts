import { RoutingError } from '../errors.js';
import type { CountReducer } from '../losses/counts.js';
import {
  requireExactLength,
  requireFinite,
  requireInteger,
  requireNumber,
  requireOneOf,
} from '../operands.js';
import { loadMetrics } from './load-metrics.js';

/** How far a controller has come. */
export interface BiasProgress {
  /** Updates done. */
  step: number;
  /** Tokens seen, over all ranks if the counts are. */
  tokens: number;
}

/** Update speed at some point of training. */
export type GammaSchedule = (progress: Readonly<BiasProgress>) => number;

/** Options of {@link createBiasController}. */
export interface BiasControllerOptions {
  /** Routed experts, E. */
  experts: number;
  /** Update speed; DeepSeek-V3 used 0.001 for 14.3 trillion tokens, then 0. See {@link gammaUntil}. */
  gamma: number | GammaSchedule;
  /** `sign` (default): b += gamma sign(mean - count), as published. `proportional`: b += gamma (mean - count). */
  rule?: 'sign' | 'proportional';
  /** Experts per token, K, to turn counts into tokens. Default 1. */
  topK?: number;
  /** Sums the counts over all ranks, in place, before they are used. */
  reduceCounts?: CountReducer;
  /** First bias [E]. Default 0. */
  initialBias?: ArrayLike<number>;
}

/** Everything needed to go on exactly where a controller stopped; survives JSON unchanged. */
export interface BiasControllerState extends BiasProgress {
  schemaVersion: 1;
  bias: number[];
}

/** Auxiliary-loss-free balancing: nudges the selection bias of overloaded experts down and of the others up. */
export interface BiasController {
  /** The bias for `router.route(..., { bias })` [E], rounded to float32; updated in place. */
  readonly bias: Float32Array;
  /** The bias that updates add to, in float64 [E]. */
  readonly exactBias: Float64Array;
  readonly progress: Readonly<BiasProgress>;
  /**
   * Applies one update for the tokens per expert of a step [E] and returns their MaxVio (of the global counts).
   * Nothing changes when the counts are refused.
   */
  update(counts: Int32Array | Float64Array): number;
  /** A snapshot for {@link BiasController.restore}. */
  state(): BiasControllerState;
  /** Goes back to a snapshot. */
  restore(state: BiasControllerState): void;
}

/**
 * Makes a controller of the selection bias (arXiv 2408.15664).
 *
 * @example
 * ```ts
 * import { createBiasController, createRouter } from '@moestack/routing';
 *
 * const router = createRouter({ experts: 8, topK: 2, scoring: 'sigmoid' });
 * const control = createBiasController({ experts: 8, gamma: 0.01 });
 * const logits = Float32Array.from({ length: 64 * 8 }, (_, i) => Math.sin(i * i) - (i % 8) / 8);
 * for (let step = 0; step < 100; step++) {
 *   const maxVio = control.update(router.route(logits, 64, { bias: control.bias }).counts);
 *   if (step % 33 === 0) console.log(step, maxVio);
 * }
 * ```
 */
export function createBiasController(options: BiasControllerOptions): BiasController {
  return new Controller(options);
}

/** `gamma` until `limit.steps` updates or `limit.tokens` tokens are done, whichever comes first; then `after` (default 0). */
export function gammaUntil(
  gamma: number,
  limit: { steps?: number; tokens?: number; after?: number },
): GammaSchedule {
  requireNumber('gamma', gamma, 0);
  const { steps = Number.POSITIVE_INFINITY, tokens = Number.POSITIVE_INFINITY, after = 0 } = limit;
  return (progress) => (progress.step < steps && progress.tokens < tokens ? gamma : after);
}

class Controller implements BiasController {
  readonly bias: Float32Array;
  readonly exactBias: Float64Array;
  readonly #gamma: number | GammaSchedule;
  readonly #proportional: boolean;
  readonly #topK: number;
  readonly #reduceCounts: CountReducer | undefined;
  readonly #counts: Float64Array;
  readonly #progress: BiasProgress = { step: 0, tokens: 0 };

  constructor(options: BiasControllerOptions) {
    const experts = requireInteger('experts', options.experts, 1, 1 << 20);
    const { gamma, rule = 'sign', topK = 1, initialBias } = options;
    if (typeof gamma === 'number') requireNumber('gamma', gamma, 0);
    requireOneOf('rule', rule, ['sign', 'proportional']);
    this.#gamma = gamma;
    this.#proportional = rule === 'proportional';
    this.#topK = requireInteger('topK', topK, 1, experts);
    this.#reduceCounts = options.reduceCounts;
    this.#counts = new Float64Array(experts);
    this.exactBias = new Float64Array(experts);
    this.bias = new Float32Array(experts);
    if (initialBias !== undefined) this.#load(Float64Array.from(initialBias));
  }

  get progress(): Readonly<BiasProgress> {
    return this.#progress;
  }

  update(local: Int32Array | Float64Array): number {
    const { exactBias, bias } = this;
    const experts = exactBias.length;
    const counts = this.#counts;
    requireExactLength('counts', local.length, experts, '[experts]');
    counts.set(local);
    this.#reduceCounts?.(counts);
    const { mean, total, maxVio } = loadMetrics(counts);
    const gamma = typeof this.#gamma === 'number' ? this.#gamma : this.#gamma(this.#progress);
    requireNumber('gamma', gamma, 0);
    for (let e = 0; e < experts; e++) {
      const lack = mean - counts[e]!;
      exactBias[e]! += gamma * (this.#proportional ? lack : Math.sign(lack));
      bias[e] = exactBias[e]!;
    }
    this.#progress.step++;
    this.#progress.tokens += total / this.#topK;
    return maxVio;
  }

  state(): BiasControllerState {
    return { schemaVersion: 1, ...this.#progress, bias: [...this.exactBias] };
  }

  restore(state: BiasControllerState): void {
    const { schemaVersion, step, tokens, bias } = state;
    if (schemaVersion !== 1) throw badState('schemaVersion', schemaVersion, '1');
    if (!Number.isInteger(step) || step < 0) throw badState('step', step, 'an integer >= 0');
    if (!(Number.isFinite(tokens) && tokens >= 0)) throw badState('tokens', tokens, 'a number >= 0');
    if (!Array.isArray(bias)) throw badState('bias', typeof bias, 'an array');
    this.#load(Float64Array.from(bias));
    this.#progress.step = step;
    this.#progress.tokens = tokens;
  }

  #load(values: Float64Array): void {
    requireExactLength('bias', values.length, this.exactBias.length, '[experts]');
    requireFinite('bias', values, values.length);
    this.exactBias.set(values);
    this.bias.set(values);
  }
}

function badState(name: string, value: unknown, expected: string): RoutingError {
  return new RoutingError({
    code: 'routing/bad-state',
    message: `expected ${expected} for ${name} of a saved state, got ${String(value)}`,
    value,
    remedy: 'pass what state() returned',
  });
}
