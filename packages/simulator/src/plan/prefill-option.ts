import { gpusPerUnit, type Pool } from '../cost/deployment.js';
import type { StepCostModel } from '../cost/step-cost.js';
import type { MemoryPlan } from '../memory/memory-plan.js';
import { waitQuantileSeconds } from './queueing.js';
import type { Traffic } from './traffic.js';

/** A prefill unit with its limits. */
export interface PrefillOption {
  /** With one unit. */
  readonly pool: Pool;
  readonly gpus: number;
  readonly memory: MemoryPlan;
  readonly cost: StepCostModel;
  /** A step with a full batch, and requests that a unit prefills in a second of such steps. */
  readonly fullStepSeconds: number;
  readonly requestsPerSecond: number;
  /** Time to move the KV of one prompt to the decode pool. */
  readonly transferSeconds: number;
}

/** Utilisation above which no estimate of a queue is trusted. */
export const MOST_UTILISATION = 0.95;

/** What {@link prefillOption} needs beside the pool. */
export interface PrefillSetting {
  readonly memory: MemoryPlan;
  readonly cost: StepCostModel;
  readonly traffic: Traffic;
  readonly networkBytesPerSecond: number;
}

/** The option of a pool, or undefined where prompts do not fit its memory. */
export function prefillOption(
  pool: Pool,
  { memory, cost, traffic, networkBytesPerSecond }: PrefillSetting,
): PrefillOption | undefined {
  const tokens = pool.maxTokensPerRank;
  // A prompt keeps its blocks until they have been moved, while the next step runs.
  const held = 2 * (tokens + (traffic.cachedMean * tokens) / traffic.newMean);
  if (!memory.fits || memory.kvTokens < Math.max(held, traffic.newAtQuantile + traffic.cachedMean))
    return undefined;
  const fullStepSeconds = stepSeconds(cost, traffic, tokens);
  return {
    pool,
    gpus: gpusPerUnit(pool),
    memory,
    cost,
    fullStepSeconds,
    requestsPerSecond: (pool.dp * tokens) / (fullStepSeconds * traffic.newMean),
    transferSeconds: (traffic.inputMean * memory.kvBytesPerToken) / pool.tp / networkBytesPerSecond,
  };
}

/** Seconds of a step with `tokens` new tokens on every rank, prompts cut where they are longer. */
function stepSeconds(cost: StepCostModel, traffic: Traffic, tokens: number): number {
  const sequences = Math.max(1, tokens / traffic.newMean);
  // A piece of a long prompt attends to those before it: half of the prompt on average.
  const before = tokens < traffic.newMean ? (traffic.newMean - tokens) / 2 : 0;
  return cost.prefillSeconds(tokens, sequences * (traffic.cachedMean + before), sequences);
}

/** Time to first token at the SLO's quantile when `units` of an option share `rate` requests a second. */
export function ttftSeconds(
  option: PrefillOption,
  traffic: Traffic,
  units: number,
  rate: number,
  quantile: number,
): number {
  const { pool, cost } = option;
  const peak = traffic.burst === null ? rate : rate * traffic.burst.factor;
  const capacity = units * option.requestsPerSecond;
  if (rate > MOST_UTILISATION * capacity) return Number.POSITIVE_INFINITY;
  const calm = Math.min(peak, MOST_UTILISATION * capacity);
  const perRank = (calm * traffic.newMean) / (units * pool.dp);
  const most = pool.maxTokensPerRank;
  // A step takes what arrived during the one before it.
  let tokens = Math.min(most, traffic.newMean);
  for (let i = 0; i < 12; i++) {
    const next = Math.min(most, Math.max(traffic.newMean, perRank * stepSeconds(cost, traffic, tokens)));
    if (Math.abs(next - tokens) < 1e-3 * tokens) break;
    tokens = next;
  }
  const running = stepSeconds(cost, traffic, tokens);
  const busy = Math.min(1, (perRank * running) / tokens);
  const prompt = traffic.newAtQuantile;
  const own =
    prompt <= most
      ? stepSeconds(cost, traffic, Math.max(tokens, prompt))
      : Math.ceil(prompt / most) * option.fullStepSeconds;
  const wait = waitQuantileSeconds(
    {
      // Prompts that fit one step are served side by side.
      servers: units * pool.dp * Math.max(1, Math.floor(most / traffic.newMean)),
      serviceSeconds: option.fullStepSeconds,
      utilisation: calm / capacity,
      arrivalVariation: traffic.arrivalVariation,
      serviceVariation: traffic.newVariation,
    },
    quantile,
  );
  return (
    wait + burstWaitSeconds(traffic, peak, capacity, quantile) + busy * running + own + option.transferSeconds
  );
}

/** What a burst above the capacity leaves in the queue: the wait grows through the burst, for all who come in it. */
function burstWaitSeconds({ burst }: Traffic, peak: number, capacity: number, quantile: number): number {
  if (burst === null || peak <= capacity) return 0;
  return quantile * burst.seconds * (peak / capacity - 1);
}

/** Most requests a second that `units` take with the first token in time. */
export function prefillRate(
  option: PrefillOption,
  traffic: Traffic,
  units: number,
  slo: { ttftSeconds: number; quantile: number },
): number {
  let low = 0;
  let high = MOST_UTILISATION * units * option.requestsPerSecond;
  if (ttftSeconds(option, traffic, units, high, slo.quantile) <= slo.ttftSeconds) return high;
  if (ttftSeconds(option, traffic, units, high * 1e-6, slo.quantile) > slo.ttftSeconds) return 0;
  for (let i = 0; i < 30; i++) {
    const middle = (low + high) / 2;
    if (ttftSeconds(option, traffic, units, middle, slo.quantile) <= slo.ttftSeconds) low = middle;
    else high = middle;
  }
  return low;
}
