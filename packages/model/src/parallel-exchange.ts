import {
  type Communicator,
  createDispatcher,
  type DispatcherBase,
  type WaitOptions,
} from '@moestack/collectives';
import type { Kernels } from '@moestack/kernels';
import { createReplicaSelector, type ReplicaSelector } from '@moestack/placement';
import type { ExpertExchange } from './expert-exchange.js';
import type { ExchangeSizes } from './expert-rows.js';
import { LowLatencyExchange } from './low-latency-exchange.js';
import type { ExpertLayout } from './parallel-options.js';
import { RankExpertExchange } from './rank-exchange.js';
import { ReplicaRouting } from './replica-routing.js';

/** An exchange over ranks with what it is made of. */
export interface ParallelExchange {
  /** One for each micro-batch. */
  readonly exchanges: readonly ExpertExchange[];
  readonly dispatcher: DispatcherBase;
  readonly selector: ReplicaSelector;
}

/** Opens the exchange of this rank. Collective. */
export async function openParallelExchange(
  kernels: Kernels,
  communicator: Communicator,
  layout: ExpertLayout,
  sizes: ExchangeSizes,
  options: { readonly microBatches: number; readonly wait: WaitOptions },
): Promise<ParallelExchange> {
  const { plan, mode, payload, replicas } = layout;
  const selector = createReplicaSelector(plan, { policy: replicas, sourceGpu: communicator.rank });
  const parts = () => ({
    kernels,
    sizes,
    routing: new ReplicaRouting(selector, sizes.topK, sizes.maxTokens),
  });
  const length = options.microBatches;
  const common = {
    experts: plan.deployment.replicas,
    topK: sizes.topK,
    hidden: sizes.hidden,
    maxTokensPerRank: sizes.maxTokens,
    payload,
    inFlight: Math.max(2, length),
    ...options.wait,
  };
  if (mode === 'low-latency') {
    const dispatcher = await createDispatcher(communicator, { ...common, mode });
    const exchanges = Array.from({ length }, () => new LowLatencyExchange({ ...parts(), dispatcher }));
    return { exchanges, dispatcher, selector };
  }
  const dispatcher = await createDispatcher(communicator, { ...common, mode, expand: true });
  const exchanges = Array.from({ length }, () => new RankExpertExchange({ ...parts(), dispatcher }));
  return { exchanges, dispatcher, selector };
}
