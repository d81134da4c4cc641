import { createRouter, type RouterConfig, type RoutingDecision } from '../src/index.js';

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
