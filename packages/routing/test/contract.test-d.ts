import type { RoutingTrace } from '@moestack/schemas';
import {
  type CapturedTrace,
  createBiasController,
  createRouter,
  planDispatch,
  type RouterConfig,
  type RoutingDecision,
} from '../src/index.js';

/** The published contract of this package. */
interface ContractConfig {
  experts: number;
  topK: number;
  groups?: number;
  topKGroups?: number;
  scoring: 'sigmoid' | 'softmax' | 'sqrtSoftplus';
  groupScore?: 'max' | 'top2Sum';
  normalize?: boolean;
  routedScalingFactor?: number;
  precision?: 'f32' | 'bf16';
}
interface ContractDecision {
  indices: Int32Array;
  weights: Float32Array;
  groups?: Int32Array;
  counts: Int32Array;
}
type ContractCreateRouter = (config: ContractConfig) => {
  route(logits: Float32Array, tokens: number, options?: { bias?: Float32Array }): ContractDecision;
};

export const contractCreateRouter: ContractCreateRouter = createRouter;
export const acceptsContractConfig: (config: ContractConfig) => RouterConfig = (config) => config;
export const givesContractDecision: (decision: RoutingDecision) => ContractDecision = (decision) => decision;

/** What `collectives`, `placement` and `training` build on. */
interface ContractDispatchPlan {
  readonly tokens: number;
  readonly isTokenInRank: Uint8Array;
  readonly tokensPerRank: Int32Array;
  readonly tokensPerNode: Int32Array;
  readonly assignmentsPerSlot: Int32Array;
  readonly rankOffsets: Int32Array;
  readonly rankTokens: Int32Array;
  readonly nodeOffsets: Int32Array;
  readonly nodeTokens: Int32Array;
}
export const contractPlanDispatch: (
  physical: Int32Array,
  tokens: number,
  options: { topK: number; topology: { slots: number; ranks: number; nodes?: number }; maxNodes?: number },
) => ContractDispatchPlan = planDispatch;

export const contractBiasController: (options: { experts: number; gamma: number }) => {
  readonly bias: Float32Array;
  update(counts: Int32Array): number;
} = createBiasController;

/** A captured trace is what the schema describes. */
export const capturedTraceFitsSchema: (trace: CapturedTrace) => RoutingTrace['records'] = (trace) =>
  trace.records;
