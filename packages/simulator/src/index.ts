export { createStepCostModel, type StepCostOptions } from './cost/create-step-cost-model.js';
export {
  Arrivals,
  Deployment,
  ExpertSkew,
  gpusOfDeployment,
  gpusOfPool,
  gpusPerUnit,
  Lengths,
  Mtp,
  Overlap,
  Pool,
  Precision,
  Slo,
  Workload,
} from './cost/deployment.js';
export { expertImbalance, powerLawLoad } from './cost/expert-imbalance.js';
export { publishedDeployment } from './cost/published-deployment.js';
export type { DecodeLoad, PrefillLoad, StepCost, StepCostModel, StepPart } from './cost/step-cost.js';
export { type EmitOptions, type EmittedFile, emitDeployment } from './emit/emit.js';
export type { EngineName, PoolRole } from './emit/engine.js';
export { GatewayFile } from './emit/gateway-file.js';
export { EngineService, FileMap, LeaderWorkerSet, PodTemplate } from './emit/leader-worker-set.js';
export { SglangArguments } from './emit/sglang-arguments.js';
export { VllmArguments } from './emit/vllm-arguments.js';
export { SimulatorError, type SimulatorErrorCode } from './errors.js';
export { Accelerator, Link, MeasuredSystem } from './hardware/accelerator.js';
export { accelerators, b200, gb200Nvl72, h100, h200, h800 } from './hardware/presets.js';
export { crossValidateKernels, type KernelError, kernelErrorTable } from './kernels/cross-validate.js';
export { predictKernel } from './kernels/predict-kernel.js';
export {
  hasKernelTable,
  type KernelTable,
  type KernelTableName,
  kernelSources,
  kernelTable,
  kernelTableNames,
} from './kernels/tables.js';
export { type ActivationOptions, type Activations, activationBytes } from './memory/activations.js';
export type { WeightFormat, Weights } from './memory/linear.js';
export {
  kvBytesPerToken,
  type MemoryPlan,
  type MemoryPlanOptions,
  memoryPlan,
} from './memory/memory-plan.js';
export {
  checkpointWeights,
  type RankWeights,
  type RankWeightsOptions,
  rankWeights,
} from './memory/weights.js';
export { deepSeekV3, ModelConfigFile, ModelShape, modelShapeFromConfig } from './model/model-shape.js';
export type { Binding } from './plan/binding.js';
export type { PlanCandidate, PoolEstimate } from './plan/candidate.js';
export type { FrontierPoint } from './plan/frontier.js';
export type { Infeasibility } from './plan/infeasible.js';
export type { Layout, LayoutSpace } from './plan/layouts.js';
export { type PlanResult, plan } from './plan/plan.js';
export { type PlanOptions, type PlanProgress, PlanRequest } from './plan/plan-options.js';
export type { SimulatedCandidate, SimulatedFigures } from './plan/verify.js';
export { planHtml } from './report/plan-html.js';
export { type SimulationReport, simulationHtml } from './report/simulation-html.js';
export { QuantileSketch } from './sim/quantile-sketch.js';
export { simulate } from './sim/simulate.js';
export type { Distribution, PoolResult, SimulateOptions, SimulationResult } from './sim/simulate-options.js';
export { perfettoTrace, type TimelineEvent } from './sim/timeline.js';
export {
  type ServingCost,
  type ServingCostOptions,
  servingCost,
  type TrainingCost,
  type TrainingCostOptions,
  trainingCost,
} from './whatif/cost-of.js';
export { type HardwareProposal, hardwareProposals, type ProposalDescription } from './whatif/proposals.js';
export {
  type WhatIfEffect,
  type WhatIfOptions,
  type WhatIfPhase,
  type WhatIfResult,
  type WhatIfStep,
  whatIf,
} from './whatif/what-if.js';
export {
  blankRequest,
  type RequestSource,
  requestsOf,
  type SimulatedRequest,
} from './workload/request-source.js';
export { longestLength, meanLength, syntheticRequests } from './workload/synthetic.js';
export { linesOf, readTrace } from './workload/traces.js';
