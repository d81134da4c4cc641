import type { Deployment, Pool } from '../cost/deployment.js';
import { SimulatorError } from '../errors.js';
import type { Accelerator } from '../hardware/accelerator.js';
import { memoryPlan } from '../memory/memory-plan.js';
import type { ModelShape } from '../model/model-shape.js';
import type { RankLimits } from './rank.js';

/** Bytes that all block tables of a simulated pool may take; larger blocks are simulated beyond that. */
const TABLE_BYTES = 192 * 2 ** 20;
/** Copies of a rank's block table in its scheduler: of the stage, and of plans under way. */
const TABLE_COPIES = 6;

/**
 * What one data-parallel rank of a pool can hold.
 *
 * @throws SimulatorError `simulator/out-of-memory` naming the bytes that are missing.
 */
export function rankLimits(
  pool: Pool,
  role: 'prefill' | 'decode' | 'both',
  context: {
    accelerator: Accelerator;
    model: ModelShape;
    deployment: Deployment;
    maxContextTokens: number;
    maxWaiting: number;
  },
): RankLimits {
  const { accelerator, model, deployment, maxWaiting } = context;
  const { precision, mtp, blockSizeTokens } = deployment;
  let kvTokens = pool.kvTokensPerRank;
  if (kvTokens === undefined) {
    const plan = memoryPlan({ accelerator, model, phase: role, pool, precision, mtp, blockSizeTokens });
    if (!plan.fits) {
      const missing = (plan.shortageBytes / 2 ** 30).toFixed(1);
      throw new SimulatorError({
        code: 'simulator/out-of-memory',
        message: `expected weights, buffers and one block of KV of the ${role} pool to fit ${accelerator.name}, ${missing} GiB are missing`,
        value: plan.shortageBytes,
        remedy: 'raise ep or tp, lower redundantExperts or maxTokensPerRank, or use GPUs with more memory',
      });
    }
    kvTokens = plan.kvTokens;
  }
  const maxContextTokens = Math.max(2, Math.min(context.maxContextTokens, kvTokens));
  const tableCells = TABLE_BYTES / (4 * TABLE_COPIES * pool.dp * pool.units * pool.maxSequencesPerRank);
  const factor = Math.ceil(maxContextTokens / blockSizeTokens / Math.max(16, tableCells));
  return {
    kvTokens,
    blockSizeTokens: Math.min(kvTokens, blockSizeTokens * factor),
    tokenBudget: pool.maxTokensPerRank,
    maxSequences: pool.maxSequencesPerRank,
    maxWaiting,
    maxContextTokens,
  };
}
