import { gpusOfPool, type Pool } from '../cost/deployment.js';
import type { QuantileSketch } from './quantile-sketch.js';
import type { Distribution, PoolResult } from './simulate-options.js';
import type { Unit } from './unit.js';

/** Sums up what the units of a pool did. */
export function poolResult(pool: Pool, units: readonly Unit[], durationUs: number): PoolResult {
  let busyUs = 0;
  let steps = 0;
  let prefillTokens = 0;
  let decodeTokens = 0;
  let busiest = 0;
  let peakKvShare = 0;
  let preemptions = 0;
  for (const { ranks, stats } of units) {
    busyUs += stats.busyUs;
    steps += stats.steps;
    prefillTokens += stats.prefillTokens;
    decodeTokens += stats.decodeTokens;
    busiest += stats.busiestSum;
    for (const { scheduler } of ranks) {
      const stage = scheduler.stats.stages.at(-1)!;
      peakKvShare = Math.max(peakKvShare, stage.peakUsedBlocks / stage.totalBlocks);
      preemptions += scheduler.stats.preemptions;
    }
  }
  const gpus = gpusOfPool(pool);
  const nodeSeconds = (gpus / pool.gpusPerNode) * (durationUs / 1e6);
  return {
    gpus,
    utilisation: busyUs / (units.length * durationUs),
    steps,
    prefillTokensPerSecondPerNode: prefillTokens / nodeSeconds,
    decodeTokensPerSecondPerNode: decodeTokens / nodeSeconds,
    meanSequencesPerRank: steps === 0 ? 0 : decodeTokens / steps / pool.dp,
    rankImbalance: decodeTokens === 0 ? 1 : (busiest * pool.dp) / decodeTokens,
    peakKvShare,
    preemptions,
  };
}

/** A stream of values as it is reported. */
export function distribution(sketch: QuantileSketch): Distribution {
  return {
    mean: sketch.mean,
    p50: sketch.quantile(0.5),
    p90: sketch.quantile(0.9),
    p99: sketch.quantile(0.99),
    maximum: sketch.maximum,
  };
}
