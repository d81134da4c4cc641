import type { StepPlan } from './types.js';

/** What a step costs by, besides being a step. */
export interface StepFeatures {
  /** New tokens of prompts. */
  prefillTokens: number;
  /** Sequences that advance by one generated token. */
  decodeSequences: number;
  /** Tokens that are attended to, summed over all new tokens. */
  attendedTokens: number;
}

/** Time of a step in microseconds as a linear function of its {@link StepFeatures}. */
export interface StepCosts {
  readonly baseUs: number;
  readonly prefillTokenUs: number;
  readonly decodeSequenceUs: number;
  readonly attendedTokenUs: number;
}

const TERMS = 4;
/** Brings typical features near 1, which keeps the covariance well conditioned. */
const SCALES = [1, 1 / 128, 1 / 16, 1 / 8192] as const;
const INITIAL_VARIANCE = 1e6;
/** A residual beyond this many mean absolute residuals is cut: a step that was descheduled says little about the next. */
const OUTLIER = 4;
const WARM_UP = 8;
/** Of the longest step, for each step. */
const DECAY = 0.995;

/**
 * Learns what steps cost while they run: recursive least squares with forgetting (Plackett 1950; Ljung, System
 * Identification, 11.2) over {@link StepFeatures}. An observation takes a few dozen operations and allocates nothing.
 */
export class StepCostEstimator {
  readonly #forgetting: number;
  readonly #weights: Float64Array = new Float64Array(TERMS);
  readonly #covariance: Float64Array = new Float64Array(TERMS * TERMS);
  readonly #features: Float64Array = new Float64Array(TERMS);
  readonly #gain: Float64Array = new Float64Array(TERMS);
  #observations = 0;
  #meanResidual = 0;
  #shortest = Number.POSITIVE_INFINITY;
  /** Longest step of late, and the largest features seen: no step costs more than they say in proportion. */
  #longest = 0;
  readonly #largest: Float64Array = new Float64Array(TERMS);

  /** @param options - `forgetting`: weight of an observation relative to the next one, default 0.998. */
  constructor(options: { forgetting?: number } = {}) {
    this.#forgetting = options.forgetting ?? 0.998;
    for (let i = 0; i < TERMS; i++) this.#covariance[i * TERMS + i] = INITIAL_VARIANCE;
  }

  /** Steps seen. */
  get observations(): number {
    return this.#observations;
  }

  /** The costs as they are known now. */
  get costs(): StepCosts {
    const weight = (term: number) => this.#weights[term]! * SCALES[term]!;
    return {
      baseUs: weight(0),
      prefillTokenUs: weight(1),
      decodeSequenceUs: weight(2),
      attendedTokenUs: weight(3),
    };
  }

  /**
   * Time that a step would take; 0 before the first. Never less than a tenth of the shortest one seen, nor more than the
   * longest of late by as much as a feature is larger than any seen, since a few noisy steps may say anything about others.
   */
  predictUs(features: StepFeatures): number {
    if (this.#observations === 0) return 0;
    this.#load(features);
    let growth = 1;
    for (let i = 1; i < TERMS; i++) {
      if (this.#largest[i]! > 0) growth = Math.max(growth, this.#features[i]! / this.#largest[i]!);
    }
    return Math.max(this.#shortest / 10, Math.min(this.#longest * growth, this.#evaluate()));
  }

  /** Takes in a step that took `durationUs`. */
  observe(features: StepFeatures, durationUs: number): void {
    if (!(durationUs >= 0 && Number.isFinite(durationUs))) return;
    this.#load(features);
    let residual = durationUs - this.#evaluate();
    const isWarm = this.#observations >= WARM_UP;
    if (isWarm) {
      const most = OUTLIER * this.#meanResidual + 1;
      this.#meanResidual += 0.05 * (Math.min(Math.abs(residual), 2 * most) - this.#meanResidual);
      residual = Math.max(-most, Math.min(most, residual));
    } else if (this.#observations >= TERMS) {
      this.#meanResidual = Math.max(this.#meanResidual, Math.abs(residual));
    }
    this.#update(residual);
    this.#observations++;
    this.#longest = Math.max(durationUs, this.#longest * DECAY);
    for (let i = 1; i < TERMS; i++) {
      if (this.#features[i]! > this.#largest[i]!) this.#largest[i] = this.#features[i]!;
    }
    if (durationUs < this.#shortest) this.#shortest = durationUs;
  }

  /** Takes in a plan that took `durationUs`; a fused plan counts as its steps do on average. */
  observePlan(plan: StepPlan, durationUs: number): void {
    if (plan.kind === 'transfer' || plan.sequences === 0) return;
    this.observe(readFeatures(plan, scratch), durationUs / plan.fusedSteps);
  }

  #load({ prefillTokens, decodeSequences, attendedTokens }: StepFeatures): void {
    this.#features[0] = SCALES[0];
    this.#features[1] = prefillTokens * SCALES[1];
    this.#features[2] = decodeSequences * SCALES[2];
    this.#features[3] = attendedTokens * SCALES[3];
  }

  #evaluate(): number {
    let sum = 0;
    for (let i = 0; i < TERMS; i++) sum += this.#weights[i]! * this.#features[i]!;
    return sum;
  }

  /** Directional forgetting (Kulhavy 1987): steps that are all alike make nothing forgotten that they do not show. */
  #update(residual: number): void {
    const covariance = this.#covariance;
    let spread = 0;
    for (let i = 0; i < TERMS; i++) {
      let sum = 0;
      for (let j = 0; j < TERMS; j++) sum += covariance[i * TERMS + j]! * this.#features[j]!;
      this.#gain[i] = sum;
      spread += this.#features[i]! * sum;
    }
    if (!(spread > 0)) return;
    for (let i = 0; i < TERMS; i++) this.#weights[i]! += (this.#gain[i]! / (1 + spread)) * residual;
    const kept = this.#forgetting - (1 - this.#forgetting) / spread;
    if (kept === 0) return;
    const denominator = 1 / kept + spread;
    for (let i = 0; i < TERMS; i++) {
      for (let j = 0; j < TERMS; j++) {
        covariance[i * TERMS + j]! -= (this.#gain[i]! * this.#gain[j]!) / denominator;
      }
    }
  }
}

const scratch: StepFeatures = { prefillTokens: 0, decodeSequences: 0, attendedTokens: 0 };

/** What a compute plan costs by; for a fused plan, one of its steps on average. */
export function stepFeatures(plan: StepPlan): StepFeatures {
  return readFeatures(plan, { ...scratch });
}

function readFeatures(plan: StepPlan, out: StepFeatures): StepFeatures {
  let attended = 0;
  for (let row = 0; row < plan.sequences; row++) {
    const tokens = plan.tokenCounts[row]!;
    attended += tokens * (plan.contextStarts[row]! + (tokens + plan.fusedSteps) / 2);
  }
  out.prefillTokens = plan.prefillTokens;
  out.decodeSequences = plan.decodeSequences;
  out.attendedTokens = attended;
  return out;
}
