import { dispatcherBytes } from '@moestack/collectives';
import type { DeepseekConfig } from './config.js';
import { dimensionsOf } from './dimensions.js';
import { type ExpertRoutingOptions, resolveExpertLayout } from './parallel-options.js';

/** Shared memory of a rank besides its dispatcher: weights on the move, control messages, alignment. */
const SPARE_BYTES = 8 << 20;

/**
 * Shared memory that each rank in a worker thread needs to run a model's experts together: for `bytesPerRank` of `WorkerWorld`. Checks the options on the way.
 *
 * @throws ModelError `model/bad-options` for ranks, placement or payload that do not fit the model.
 */
export function expertSharedBytes(
  config: DeepseekConfig,
  options: ExpertRoutingOptions & { readonly ranks: number; readonly maxBatchTokens: number },
): number {
  const { ranks, maxBatchTokens } = options;
  const d = dimensionsOf(config);
  const { plan, mode, payload } = resolveExpertLayout(options, config, d, { ranks, nodes: 1 });
  const dispatcher = {
    mode,
    payload,
    maxTokensPerRank: maxBatchTokens,
    experts: plan.deployment.replicas,
    topK: d.topK,
    hidden: d.hidden,
    expand: mode !== 'low-latency',
  };
  return Math.ceil(dispatcherBytes(dispatcher, { nodes: 1, ranksPerNode: ranks }) * 1.25) + SPARE_BYTES;
}
