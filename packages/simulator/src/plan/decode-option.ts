import { gpusPerUnit, type Pool } from '../cost/deployment.js';
import type { StepCostModel } from '../cost/step-cost.js';
import type { MemoryPlan } from '../memory/memory-plan.js';
import type { Traffic } from './traffic.js';

/** A decode unit with its limits. */
export interface DecodeOption {
  /** With one unit. */
  readonly pool: Pool;
  readonly gpus: number;
  readonly memory: MemoryPlan;
  readonly cost: StepCostModel;
  /** A step with a full batch. */
  readonly fullStepSeconds: number;
  /** Time between tokens of a request in a full batch. */
  readonly tpotSeconds: number;
  /** Requests that a unit finishes in a second at {@link DECODE_FILL} of its batch. */
  readonly requestsPerSecond: number;
  /** Why the batch is not larger. */
  readonly limit: 'slo' | 'memory' | 'batch';
}

/** Share of the batch in use on average: the rest takes up fluctuations, so that prefilled requests need not wait. */
export const DECODE_FILL = 0.92;

/** Most sequences of a rank that are considered. */
const mostSequences = 1024;

/** What {@link decodeOption} needs beside the pool. */
export interface DecodeSetting {
  readonly cost: StepCostModel;
  readonly traffic: Traffic;
  /** Memory of the pool with other limits. */
  readonly memoryOf: (maxSequences: number) => MemoryPlan;
}

/** Sequences fit when the context that they hold on average does. */
function fits(memory: MemoryPlan, sequences: number, traffic: Traffic): boolean {
  return memory.fits && memory.kvTokens >= sequences * traffic.contextMean;
}

/** The largest batch of a pool that keeps `tpotSeconds`; undefined where not even one sequence does. */
export function decodeOption(
  pool: Pool,
  tpotSeconds: number,
  { cost, traffic, memoryOf }: DecodeSetting,
): DecodeOption | undefined {
  const { tokensPerStep } = cost;
  const seconds = (sequences: number) => cost.decodeSeconds(sequences, sequences * traffic.contextMean);
  const inTime = (sequences: number) => seconds(sequences) / tokensPerStep <= tpotSeconds;
  const most = Math.min(mostSequences, pool.maxSequencesPerRank);
  const ok = (sequences: number) => inTime(sequences) && fits(memoryOf(sequences), sequences, traffic);
  if (!ok(1)) return undefined;
  let low = 1;
  let high = most + 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (ok(middle)) low = middle;
    else high = middle;
  }
  const limit = low === most ? 'batch' : inTime(low + 1) ? 'memory' : 'slo';
  const fullStepSeconds = seconds(low);
  const filled = Math.max(1, low * DECODE_FILL);
  const share = (low * DECODE_FILL) / filled;
  return {
    pool: {
      ...pool,
      maxSequencesPerRank: low,
      maxTokensPerRank: Math.max(1, Math.ceil(low * tokensPerStep)),
    },
    gpus: gpusPerUnit(pool),
    memory: memoryOf(low),
    cost,
    fullStepSeconds,
    tpotSeconds: fullStepSeconds / tokensPerStep,
    requestsPerSecond: (share * pool.dp * filled * tokensPerStep) / (seconds(filled) * traffic.outputMean),
    limit,
  };
}
