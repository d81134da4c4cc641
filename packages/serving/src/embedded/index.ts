export { createEmbeddedBackend, followEmbeddedBackend } from './create-embedded-backend.js';
export type {
  AdmissionStats,
  EngineStats,
  SloStats,
  SloTargets,
  StageEngineStats,
  StageExpertStats,
  StepRecord,
} from './engine-stats.js';
export type { EngineRestart, StageRanks } from './engine-supervisor.js';
export type { StageExperts, StageRebalance } from './expert-balancer.js';
export type { EmbeddedBackend, EmbeddedOptions } from './options.js';
export type { RankExpertLoad } from './protocol.js';
export type { LoadProgress } from './stage-worker.js';
export type { PhaseName, StepPhase } from './step-phases.js';
