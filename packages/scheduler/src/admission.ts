import { SchedulerError } from './errors.js';
import type { QueueLoad } from './queue-load.js';
import { StepCostEstimator, type StepFeatures } from './step-cost.js';
import type { SchedulerConfig, StageConfig, StepPlan } from './types.js';

/** What is promised to a request, in microseconds, and what to do with one that would not get it. */
export interface AdmissionPolicy {
  /** Arrival to first token; default: nothing is promised. */
  readonly ttftUs?: number;
  /** Mean time between tokens after the first; default: nothing is promised. */
  readonly tpotUs?: number;
  /**
   * When the first token would be late: `reject` (default), `defer` behind all requests that are not, or `accept` all the
   * same.
   */
  readonly whenTtftMissed?: 'reject' | 'defer' | 'accept';
  /** When the tokens would be slow: `reject` (default), `shorten` the answer, or `accept`. */
  readonly whenTpotMissed?: 'reject' | 'shorten' | 'accept';
  /** Longest answer of a shortened request, default 64. */
  readonly shortenedTokens?: number;
  /** Priority of a deferred request, default -1. */
  readonly deferredPriority?: number;
  /** Fraction of a target that a prediction may fill; below 1 leaves room for error. Default 0.8. */
  readonly headroom?: number;
  /** Steps of each stage that must have been seen before anybody is refused, default 16. */
  readonly minObservations?: number;
}

/** A request that asks to be admitted. */
export interface AdmissionRequest {
  readonly promptTokens: number;
  /** Tokens of the prompt that need no computation. */
  readonly cachedTokens?: number;
  readonly maxNewTokens: number;
  readonly priority?: number;
}

/** What to do with a request, and what it would get. */
export interface AdmissionDecision {
  readonly action: 'accept' | 'reject' | 'defer' | 'shorten';
  /** The target that would be missed, if one would. */
  readonly reason: 'ttft' | 'tpot' | undefined;
  readonly predictedTtftUs: number;
  readonly predictedTpotUs: number;
  /** `action` `reject`: when another attempt may succeed. */
  readonly retryAfterUs: number;
  /** To be used in place of what was asked for. */
  readonly maxNewTokens: number;
  readonly priority: number;
}

const SMOOTHING = 0.05;
const MAX_BIAS = 4;

/**
 * Predicts when a request would get its tokens, from what is queued and from what steps were seen to cost, and decides
 * whether to take it. An idle engine takes everything: waiting would not help.
 *
 * Prediction: the prompt tokens ahead are computed in steps of the entry stage's budget; where seats are full, requests
 * ahead leave as decoding sequences end. Tokens then come step by step of the batch as it will be. Both are corrected by
 * how earlier predictions turned out. Fairness between tenants is left out, so a tenant that is owed service may fare
 * better than predicted.
 *
 * @throws SchedulerError `scheduler/bad-config`.
 */
export class AdmissionController {
  readonly entryCosts: StepCostEstimator = new StepCostEstimator();
  /** Those of the entry stage itself where it decodes too. */
  readonly decodeCosts: StepCostEstimator;
  readonly #policy: AdmissionPolicy;
  readonly #entry: StageConfig;
  readonly #last: StageConfig;
  readonly #entryIndex: number;
  readonly #features: StepFeatures = { prefillTokens: 0, decodeSequences: 0, attendedTokens: 0 };
  /** Of answers relative to their limits. */
  #outputRatio = 1;
  /** Prompt tokens in a step that also decodes, in a mixed stage. */
  #mixedPrefillTokens = 0;
  #ttftBias = 1;
  #tpotBias = 1;

  constructor(config: SchedulerConfig, policy: AdmissionPolicy) {
    for (const [name, value] of Object.entries(policy)) {
      if (typeof value === 'number' && name !== 'deferredPriority' && !(value > 0)) {
        throw new SchedulerError({
          code: 'scheduler/bad-config',
          message: `expected a number above 0 for ${name}, got ${value}`,
          value,
          remedy: `pass ${name} as such a number, or leave it out`,
        });
      }
    }
    this.#policy = policy;
    this.#entryIndex = config.stages.findIndex(({ role }) => role !== 'decode');
    this.#entry = config.stages[this.#entryIndex]!;
    this.#last = config.stages.find(({ role }) => role !== 'prefill')!;
    this.decodeCosts = this.#entry === this.#last ? this.entryCosts : new StepCostEstimator();
  }

  /** Takes in how long a step took. */
  observeStep(plan: StepPlan, durationUs: number): void {
    if (plan.kind === 'transfer') return;
    (plan.stage === this.#entryIndex ? this.entryCosts : this.decodeCosts).observePlan(plan, durationUs);
    if (this.#entry !== this.#last || plan.decodeSequences === 0) return;
    this.#mixedPrefillTokens += SMOOTHING * (plan.prefillTokens - this.#mixedPrefillTokens);
  }

  /** Takes in how a request fared that was predicted when it was admitted. */
  observeOutcome(outcome: {
    predictedTtftUs: number;
    ttftUs: number;
    predictedTpotUs?: number;
    tpotUs?: number;
    generatedTokens: number;
    maxNewTokens: number;
  }): void {
    const { predictedTtftUs, ttftUs, predictedTpotUs = 0, tpotUs = 0 } = outcome;
    if (predictedTtftUs > 0) this.#ttftBias = corrected(this.#ttftBias, ttftUs / predictedTtftUs);
    if (predictedTpotUs > 0 && tpotUs > 0)
      this.#tpotBias = corrected(this.#tpotBias, tpotUs / predictedTpotUs);
    const ratio = Math.min(1, outcome.generatedTokens / outcome.maxNewTokens);
    this.#outputRatio += SMOOTHING * (ratio - this.#outputRatio);
  }

  /** What a request would get if it came now. */
  predict(load: QueueLoad, request: AdmissionRequest): { ttftUs: number; tpotUs: number } {
    const tpotUs = this.#tpotUs(load, request) * this.#tpotBias;
    return { ttftUs: this.#ttftUs(load, request, tpotUs) * this.#ttftBias, tpotUs };
  }

  /** Decides about a request that came now. */
  decide(load: QueueLoad, request: AdmissionRequest): AdmissionDecision {
    const {
      whenTtftMissed = 'reject',
      whenTpotMissed = 'reject',
      headroom = 0.8,
      minObservations = 16,
    } = this.#policy;
    const { ttftUs = Number.POSITIVE_INFINITY, tpotUs = Number.POSITIVE_INFINITY } = this.#policy;
    const { maxNewTokens, priority = 0 } = request;
    const predicted = this.predict(load, request);
    const base = {
      reason: undefined,
      predictedTtftUs: predicted.ttftUs,
      predictedTpotUs: predicted.tpotUs,
      retryAfterUs: 0,
      maxNewTokens,
      priority,
    };
    const isIdle =
      load.waitingRequests + load.prefillSequences + load.decodeSequences + load.handoverSequences === 0;
    const isKnown = Math.min(this.entryCosts.observations, this.decodeCosts.observations) >= minObservations;
    if (isIdle || !isKnown) return { ...base, action: 'accept' };
    if (predicted.ttftUs > ttftUs * headroom) {
      const late = { ...base, reason: 'ttft' as const };
      if (whenTtftMissed === 'reject') {
        return { ...late, action: 'reject', retryAfterUs: predicted.ttftUs - ttftUs * headroom };
      }
      const { deferredPriority = -1 } = this.#policy;
      if (whenTtftMissed === 'accept') return { ...late, action: 'accept' };
      return { ...late, action: 'defer', priority: Math.min(priority, deferredPriority) };
    }
    if (predicted.tpotUs > tpotUs * headroom) {
      const slow = { ...base, reason: 'tpot' as const };
      if (whenTpotMissed === 'reject') {
        return {
          ...slow,
          action: 'reject',
          retryAfterUs: this.#relaxUs(load, tpotUs * headroom, predicted.tpotUs),
        };
      }
      const { shortenedTokens = 64 } = this.#policy;
      if (whenTpotMissed === 'accept' || maxNewTokens <= shortenedTokens)
        return { ...slow, action: 'accept' };
      return { ...slow, action: 'shorten', maxNewTokens: shortenedTokens };
    }
    return { ...base, action: 'accept' };
  }

  #tpotUs(load: QueueLoad, request: AdmissionRequest): number {
    const running =
      load.decodeSequences + load.handoverSequences + load.prefillSequences + load.waitingRequests + 1;
    const sequences = Math.min(running, this.#last.maxSequences);
    const own = request.promptTokens + request.maxNewTokens / 2;
    const contexts =
      load.decodeSequences > 0
        ? (load.decodeContextTokens / load.decodeSequences) * (sequences - 1) + own
        : own;
    const features = this.#features;
    features.prefillTokens = this.#mixedPrefillTokens;
    features.decodeSequences = sequences;
    features.attendedTokens = contexts + (this.#mixedPrefillTokens * own) / 2;
    return this.decodeCosts.predictUs(features);
  }

  #ttftUs(load: QueueLoad, request: AdmissionRequest, tpotUs: number): number {
    const { promptTokens, cachedTokens = 0, priority = 0 } = request;
    const isFirst = priority > load.waitingPriority;
    const waitingTokens = isFirst ? 0 : load.waitingTokens;
    const waitingRequests = isFirst ? 0 : load.waitingRequests;
    const tokens = load.prefillTokens + waitingTokens + Math.max(1, promptTokens - cachedTokens);
    const decodes = this.#entry === this.#last ? load.decodeSequences : 0;
    const perStep = Math.max(1, this.#entry.tokenBudget - decodes);
    const meanPrompt = (waitingTokens + promptTokens) / (waitingRequests + 1);
    const features = this.#features;
    const stepUs = (prefillTokens: number): number => {
      features.prefillTokens = prefillTokens;
      features.decodeSequences = decodes;
      features.attendedTokens =
        (prefillTokens * meanPrompt) / 2 + (decodes > 0 ? load.decodeContextTokens : 0);
      return this.entryCosts.predictUs(features);
    };
    const whole = Math.floor(tokens / perStep);
    const rest = tokens - whole * perStep;
    let computeUs = whole * stepUs(perStep) + (rest > 0 ? stepUs(rest) : 0);
    // On average a step in flight is half done.
    if (load.prefillSequences > 0) computeUs += stepUs(Math.min(perStep, load.prefillTokens)) / 2;
    // Where everybody decodes who can, somebody must end before each one that is ahead and does not fit.
    const running = load.prefillSequences + load.handoverSequences + load.decodeSequences;
    const isMixed = this.#entry === this.#last;
    const seats = isMixed ? this.#last.maxSequences : this.#last.maxSequences + this.#entry.maxSequences;
    const decoding = isMixed ? running : load.handoverSequences + load.decodeSequences;
    const isFull = decoding >= this.#last.maxSequences;
    const missingSeats = isFull ? Math.max(0, waitingRequests + running + 1 - seats) : 0;
    return Math.max(
      computeUs,
      missingSeats * this.#endIntervalUs(load, tpotUs) + stepUs(promptTokens - cachedTokens),
    );
  }

  /** Time between the ends of decoding sequences. */
  #endIntervalUs(load: QueueLoad, tpotUs: number): number {
    if (load.decodeSequences === 0) return 0;
    const remaining = (load.decodeRemainingTokens / load.decodeSequences) * this.#outputRatio;
    return (remaining * tpotUs) / load.decodeSequences;
  }

  /** Time until so many sequences have ended that tokens come fast enough, as steps grow with the batch. */
  #relaxUs(load: QueueLoad, targetUs: number, tpotUs: number): number {
    const excess = Math.max(1, Math.ceil(load.decodeSequences * (1 - targetUs / tpotUs)));
    return excess * this.#endIntervalUs(load, tpotUs);
  }
}

function corrected(bias: number, ratio: number): number {
  if (!Number.isFinite(ratio)) return bias;
  // In the logarithm, so that halves and doubles weigh the same.
  const wanted = Math.log(Math.max(1 / MAX_BIAS, Math.min(MAX_BIAS, ratio * bias)));
  return Math.exp(Math.log(bias) + SMOOTHING * (wanted - Math.log(bias)));
}
