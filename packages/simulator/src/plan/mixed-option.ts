import type { StepCostModel } from '../cost/step-cost.js';
import { DECODE_FILL, type DecodeOption } from './decode-option.js';
import { MOST_UTILISATION } from './prefill-option.js';
import { waitQuantileSeconds } from './queueing.js';
import type { Traffic } from './traffic.js';

/** A unit that prefills between decode steps. */
export interface MixedOption extends DecodeOption {
  readonly prefillCost: StepCostModel;
  /** Largest piece of prompts in a step. */
  readonly pieceTokens: number;
}

/** Pieces of prompts that keep `sequences` running: so many new tokens for each step. */
function pieceOf(sequences: number, traffic: Traffic, tokensPerStep: number): number {
  return (sequences * tokensPerStep * traffic.newMean) / traffic.outputMean;
}

/** Seconds of a step with `tokens` of prompts. */
function prefillSeconds(cost: StepCostModel, traffic: Traffic, tokens: number): number {
  const prompts = Math.max(1, tokens / traffic.newMean);
  const before = traffic.cachedMean + Math.max(0, traffic.newMean - tokens) / 2;
  return cost.prefillSeconds(tokens, prompts * before, prompts);
}

/** The largest batch of a unit that prefills too; `base` is its batch without prefill. */
export function mixedOption(
  base: DecodeOption,
  prefillCost: StepCostModel,
  traffic: Traffic,
  tpotSeconds: number,
  pieceTokens: number,
): MixedOption | undefined {
  const { cost, pool } = base;
  const tokensPerStep = cost.tokensPerStep;
  // Prompts are computed between decode steps, one or more at a time: every decode step bears its share of them.
  const seconds = (sequences: number) => {
    const tokens = pieceOf(sequences, traffic, tokensPerStep);
    const together = Math.min(pieceTokens, Math.max(tokens, traffic.newMean));
    const decode = cost.decodeSeconds(sequences, sequences * traffic.contextMean);
    return decode + (tokens / together) * prefillSeconds(prefillCost, traffic, together);
  };
  const ok = (sequences: number) =>
    seconds(sequences) / tokensPerStep <= tpotSeconds &&
    pieceOf(sequences, traffic, tokensPerStep) <= pieceTokens;
  if (!ok(1)) return undefined;
  let low = 1;
  let high = pool.maxSequencesPerRank + 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (ok(middle)) low = middle;
    else high = middle;
  }
  const filled = Math.max(1, low * DECODE_FILL);
  return {
    ...base,
    pool: {
      ...pool,
      maxSequencesPerRank: low,
      maxTokensPerRank: pieceTokens + Math.ceil(low * tokensPerStep),
    },
    prefillCost,
    pieceTokens,
    fullStepSeconds: seconds(low),
    tpotSeconds: seconds(low) / tokensPerStep,
    requestsPerSecond:
      (((low * DECODE_FILL) / filled) * pool.dp * filled * tokensPerStep) /
      (seconds(filled) * traffic.outputMean),
    limit: low < pool.maxSequencesPerRank ? 'slo' : base.limit,
  };
}

/** Time to first token of a unit that prefills between decode steps. */
export function mixedTtftSeconds(
  option: MixedOption,
  traffic: Traffic,
  units: number,
  rate: number,
  quantile: number,
): number {
  const { pool, cost, prefillCost, pieceTokens } = option;
  const peak = rate * (traffic.burst?.factor ?? 1);
  const capacity = units * option.requestsPerSecond;
  if (rate > capacity) return Number.POSITIVE_INFINITY;
  const sequences = pool.maxSequencesPerRank;
  const full =
    cost.decodeSeconds(sequences, sequences * traffic.contextMean) +
    prefillSeconds(prefillCost, traffic, pieceTokens);
  const pieces = Math.ceil(traffic.newAtQuantile / pieceTokens);
  const wait = waitQuantileSeconds(
    {
      servers: units * pool.dp * Math.max(1, Math.floor(pieceTokens / traffic.newMean)),
      serviceSeconds: Math.max(1, Math.ceil(traffic.newMean / pieceTokens)) * full,
      utilisation: Math.min(MOST_UTILISATION, (peak * DECODE_FILL) / capacity),
      arrivalVariation: traffic.arrivalVariation,
      serviceVariation: traffic.newVariation,
    },
    quantile,
  );
  const burst =
    traffic.burst !== null && peak > capacity ? quantile * traffic.burst.seconds * (peak / capacity - 1) : 0;
  return wait + burst + option.fullStepSeconds + pieces * full;
}
