import {
  accelerators,
  deepSeekV3,
  publishedDeployment,
  type SimulationResult,
  simulate,
  type Workload,
} from '../../src/index.js';
import { ONLINE_PROMPT } from './end-to-end.js';

const { h800 } = accelerators;

/** Rates at which the online prefill unit was simulated, and how it answered. */
export interface OnlinePrefill {
  /** Tokens of input with cache hits, a second and node. */
  readonly rate: number;
  readonly result: SimulationResult;
}

/** The online prefill unit under Poisson arrivals of prompts as varied as their mean, 56.3 % cached. */
export async function onlinePrefill(rates: readonly number[]): Promise<OnlinePrefill[]> {
  const rows: OnlinePrefill[] = [];
  for (const rate of rates) {
    const result = await simulate({
      accelerator: h800,
      model: deepSeekV3,
      deployment: publishedDeployment('online'),
      workload: {
        requestsPerSecond: (4 * rate) / ONLINE_PROMPT,
        inputTokens: { kind: 'logNormal', mean: ONLINE_PROMPT, deviation: 1, maximum: 65_536 },
        // Prefill alone is looked at.
        outputTokens: { kind: 'fixed', tokens: 1 },
        cachedFraction: 0.563,
        arrivals: { kind: 'poisson' },
      },
      requestCount: 3000,
    });
    rows.push({ rate, result });
  }
  return rows;
}

/** The same mean traffic, evenly and in bursts, against an objective that a steady state meets. */
export async function burstCase(): Promise<{ steady: SimulationResult; bursts: SimulationResult }> {
  const base: Workload = {
    requestsPerSecond: 4,
    inputTokens: { kind: 'logNormal', mean: 6000, deviation: 0.5, maximum: 32_768 },
    outputTokens: { kind: 'logNormal', mean: 200, deviation: 0.5, maximum: 1000 },
    cachedFraction: 0,
    arrivals: { kind: 'poisson' },
  };
  const run = (workload: Workload): Promise<SimulationResult> =>
    simulate({
      accelerator: h800,
      model: deepSeekV3,
      deployment: publishedDeployment('online'),
      workload,
      requestCount: 2000,
      slo: { ttftSeconds: 3, tpotSeconds: 0.06, quantile: 0.9 },
    });
  return {
    steady: await run(base),
    bursts: await run({ ...base, arrivals: { kind: 'bursts', factor: 25, burstSeconds: 15 } }),
  };
}
