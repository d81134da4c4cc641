import { dispatcherBytes } from '@moestack/collectives';
import type { DeepseekConfig } from './config.js';
import { dimensionsOf } from './dimensions.js';
import { type ExpertRoutingOptions, resolveExpertLayout } from './parallel-options.js';
import { tensorExchangeBytes } from './tensor-exchange.js';
import { shareRows, tensorShare, tensorSizes } from './tensor-share.js';

/** Shared memory of a rank besides its dispatcher: weights on the move, control messages, alignment. */
const SPARE_BYTES = 8 << 20;

/**
 * Shared memory that each rank in a worker thread needs to run a model's experts together: for `bytesPerRank` of `WorkerWorld`. Checks the options on the way.
 *
 * @throws ModelError `model/bad-options` for ranks, placement or payload that do not fit the model.
 */
export function expertSharedBytes(
  config: DeepseekConfig,
  options: ExpertRoutingOptions & {
    readonly ranks: number;
    readonly maxBatchTokens: number;
    /** As in {@link ParallelOptions}; then `maxSequences` counts too. */
    readonly tensor?: number;
    readonly maxSequences?: number;
    readonly microBatches?: 1 | 2;
  },
): number {
  const { ranks, maxBatchTokens, tensor = 1, maxSequences = 1, microBatches = 1 } = options;
  const d = dimensionsOf(config);
  const { plan, mode, payload } = resolveExpertLayout(options, config, d, { ranks, nodes: 1 });
  const share = tensorShare(tensor, ranks, 0, d);
  const dispatcher = {
    mode,
    payload,
    maxTokensPerRank: shareRows(maxBatchTokens, share),
    experts: plan.deployment.replicas,
    topK: d.topK,
    hidden: d.hidden,
    expand: mode !== 'low-latency',
  };
  const exchange = tensorExchangeBytes(tensorSizes(d, share, { maxBatchTokens, maxSequences }));
  const bytes =
    dispatcherBytes(dispatcher, { nodes: 1, ranksPerNode: ranks }) +
    (tensor > 1 ? microBatches * exchange : 0);
  return Math.ceil(bytes * 1.25) + SPARE_BYTES;
}
