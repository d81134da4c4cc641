import * as collectives from '@moestack/collectives';
import * as cost from '@moestack/collectives/cost';
import type { TrafficReport } from '@moestack/schemas';

/** What model, training and the simulator rely on; the exports must be assignable to it. */
interface DispatchContract {
  createDispatcher(
    comm: collectives.Communicator,
    options: { mode: 'direct'; experts: number; topK: number; hidden: number; maxTokensPerRank: number },
  ): Promise<collectives.Dispatcher>;
  createDispatcherSync(
    comm: collectives.Communicator,
    options: { mode: 'low-latency'; experts: number; topK: number; hidden: number; maxTokensPerRank: number },
  ): collectives.LowLatencyDispatcher;
  dispatchLayout(
    topkIdx: Int32Array,
    tokens: number,
    shape: collectives.LayoutShape,
  ): collectives.DispatchLayout;
  trafficReport(
    config: collectives.DispatcherConfig,
    ranks: readonly collectives.RankCounters[],
  ): TrafficReport;
}

interface CostContract {
  dispatchCost(
    request: {
      topology: { nodes: number; ranksPerNode: number };
      tokensPerRank: number;
      experts: number;
      topK: number;
      hidden: number;
      mode: 'direct' | 'hierarchical' | 'low-latency';
      payload?: 'f32' | 'bf16' | 'fp8';
      nodeLimit?: number;
    },
    links: cost.ClusterLinks,
  ): { seconds: number; dispatch: { seconds: number }; combine: { seconds: number } };
  collectiveCost(request: cost.CollectiveCostRequest, links: cost.ClusterLinks): { seconds: number };
  expectedFanout(shape: cost.FanoutShape): { nodes: number; ranks: number };
}

collectives satisfies DispatchContract;
cost satisfies CostContract;

declare const dispatcher: collectives.Dispatcher;
const exchange: collectives.Exchange<collectives.DispatchResult> = dispatcher.dispatchSend({
  x: new Float32Array(4),
  topkIdx: Int32Array.of(0),
});
const result: collectives.DispatchResult = dispatcher.dispatchReceive(exchange, { timeoutSeconds: 1 });
const back: collectives.Exchange<collectives.CombineResult> = dispatcher.combineSend({
  handle: result.handle,
  x: new Float32Array(4),
});
void back;
