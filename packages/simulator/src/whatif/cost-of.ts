import { SimulatorError } from '../errors.js';

/** What {@link trainingCost} adds up. */
export interface TrainingCostOptions {
  /** Tokens of pre-training. */
  readonly tokens: number;
  /** GPU hours for 10^12 tokens; DeepSeek-V3 on H800: 180,000. */
  readonly gpuHoursPerTrillionTokens: number;
  /** GPU hours besides: context extension and post-training. Default 0. */
  readonly otherGpuHours?: number;
  readonly usdPerGpuHour: number;
}

/** GPU hours and price of training a model once. */
export interface TrainingCost {
  readonly gpuHours: number;
  readonly usd: number;
  readonly usdPerTrillionTokens: number;
}

/**
 * Price of training from GPU hours.
 *
 * @example
 * ```ts
 * import { trainingCost } from '@moestack/simulator';
 *
 * // DeepSeek-V3: 14.8 T tokens, 119 K hours of context extension, 5 K of post-training.
 * const cost = trainingCost({ tokens: 14.8e12, gpuHoursPerTrillionTokens: 180e3, otherGpuHours: 124e3, usdPerGpuHour: 2 });
 * console.log(cost.gpuHours, cost.usd); // 2788000 5576000
 * ```
 */
export function trainingCost(options: TrainingCostOptions): TrainingCost {
  const { tokens, gpuHoursPerTrillionTokens, otherGpuHours = 0, usdPerGpuHour } = options;
  notNegative({ tokens, gpuHoursPerTrillionTokens, otherGpuHours, usdPerGpuHour });
  const gpuHours = Math.round((tokens / 1e12) * gpuHoursPerTrillionTokens + otherGpuHours);
  return {
    gpuHours,
    usd: gpuHours * usdPerGpuHour,
    usdPerTrillionTokens: gpuHoursPerTrillionTokens * usdPerGpuHour,
  };
}

/** What {@link servingCost} adds up, for one day. */
export interface ServingCostOptions {
  readonly gpus: number;
  readonly usdPerGpuHour: number;
  readonly cachedInputTokens: number;
  readonly newInputTokens: number;
  readonly outputTokens: number;
  /** Prices of a million tokens, for the revenue; default none. */
  readonly prices?: { readonly cachedInput: number; readonly newInput: number; readonly output: number };
}

/** A day of serving. */
export interface ServingCost {
  readonly usdPerDay: number;
  readonly usdPerMillionOutputTokens: number;
  /** At the given prices; null without them. */
  readonly revenueUsdPerDay: number | null;
  /** Profit over cost; null without prices. */
  readonly profitShare: number | null;
}

/** Price of a day of serving from GPU hours, and what the tokens would bring. */
export function servingCost(options: ServingCostOptions): ServingCost {
  const { gpus, usdPerGpuHour, cachedInputTokens, newInputTokens, outputTokens, prices } = options;
  notNegative({ gpus, usdPerGpuHour, cachedInputTokens, newInputTokens, outputTokens, ...prices });
  const usdPerDay = gpus * 24 * usdPerGpuHour;
  const revenue =
    prices === undefined
      ? null
      : (cachedInputTokens * prices.cachedInput +
          newInputTokens * prices.newInput +
          outputTokens * prices.output) /
        1e6;
  return {
    usdPerDay,
    usdPerMillionOutputTokens:
      outputTokens === 0 ? Number.POSITIVE_INFINITY : (usdPerDay / outputTokens) * 1e6,
    revenueUsdPerDay: revenue,
    profitShare: revenue === null || usdPerDay === 0 ? null : revenue / usdPerDay - 1,
  };
}

function notNegative(fields: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(fields)) {
    if (Number.isFinite(value) && value >= 0) continue;
    throw new SimulatorError({
      code: 'simulator/bad-config',
      message: `expected a number of at least 0 for ${name}, got ${value}`,
      value,
      remedy: `correct ${name}`,
    });
  }
}
