import {
  type Deployment,
  gpuLoads,
  type Load,
  lowerBound,
  type Plan,
  rebalance,
  replay,
} from '../src/index.js';

/** The published contract of this package. */
interface ContractLoad {
  layers: number;
  experts: number;
  counts: Float64Array | Float32Array | Int32Array;
}
interface ContractDeployment {
  nodes: number;
  gpus: number;
  replicas: number;
  groups?: number;
}
interface ContractPlan {
  physicalToLogical: Int32Array;
  replicaRank: Int32Array;
  logicalCount: Int32Array;
  deployment: ContractDeployment;
  layers: number;
}
type ContractRebalance = (
  load: ContractLoad,
  deployment: ContractDeployment,
  options?: {
    policy?: 'eplb' | 'optimal' | 'incremental';
    ties?: 'torch' | 'stable';
    previous?: ContractPlan;
    localityBudget?: number;
  },
) => ContractPlan;
type ContractReplay = (
  trace: { minutes: number; layers: number; experts: number; counts: Uint16Array },
  deployment: ContractDeployment & {
    expertBytes: number;
    modelLayers?: number;
    intraNodeGBps?: number;
    interNodeGBps?: number;
  },
  options: { policy: 'none' | 'eplb' | 'incremental'; everyMinutes?: number },
) => { score: number; efficiency: number; migrated: number; largestStallSeconds: number };

export const contractRebalance: ContractRebalance = rebalance;
export const contractGpuLoads: (load: ContractLoad, plan: ContractPlan) => Float64Array = gpuLoads;
export const contractLowerBound: (load: ContractLoad, deployment: ContractDeployment) => Float64Array =
  lowerBound;
export const contractReplay: ContractReplay = replay;
export const acceptsContractLoad: (load: ContractLoad) => Load = (load) => load;
export const acceptsContractDeployment: (deployment: ContractDeployment) => Deployment = (deployment) =>
  deployment;
export const acceptsContractPlan: (plan: ContractPlan) => Plan = (plan) => plan;
export const givesContractPlan: (plan: Plan) => ContractPlan = (plan) => plan;
