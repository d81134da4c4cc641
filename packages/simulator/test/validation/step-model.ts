import {
  type Accelerator,
  createStepCostModel,
  type Deployment,
  deepSeekV3,
  type ExpertSkew,
  type Pool,
  publishedDeployment,
  type StepCostModel,
} from '../../src/index.js';

/** Changes to a published deployment. */
export interface Change {
  prefill?: Partial<Pool>;
  decode?: Partial<Pool>;
  skew?: ExpertSkew;
  mtp?: Deployment['mtp'];
}

/** Prices of one role in a published deployment of DeepSeek-V3. */
export function stepModel(
  accelerator: Accelerator,
  name: 'profile' | 'online' | 'report',
  role: 'prefill' | 'decode',
  change: Change = {},
): StepCostModel {
  const base = publishedDeployment(name);
  const deployment: Deployment = {
    ...base,
    prefill: { ...base.prefill!, ...change.prefill },
    decode: { ...base.decode, ...change.decode },
    skew: change.skew ?? base.skew,
    mtp: change.mtp ?? base.mtp,
  };
  return createStepCostModel({ accelerator, model: deepSeekV3, deployment, role });
}
