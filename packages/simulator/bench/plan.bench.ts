import {
  deepSeekV3,
  emitDeployment,
  h800,
  memoryPlan,
  type PlanOptions,
  plan,
  publishedDeployment,
  whatIf,
} from '@moestack/simulator';
import { type BenchGroup, defineBench } from '@moestack/tooling/bench';

const workload = {
  requestsPerSecond: 1,
  inputTokens: { kind: 'logNormal', mean: 4000, deviation: 1, maximum: 65_536 },
  outputTokens: { kind: 'logNormal', mean: 1000, deviation: 1, maximum: 16_384 },
  cachedFraction: 0.5,
  arrivals: { kind: 'poisson' },
} as const;

function request(gpus: number, simulate: number): PlanOptions {
  return {
    accelerator: h800,
    model: deepSeekV3,
    workload,
    slo: { ttftSeconds: 5, tpotSeconds: 0.05 },
    goal: 'cluster',
    gpus,
    simulate,
  };
}

/** The whole search of a cluster, estimates alone: growth with its size. */
function search(gpus: number): BenchGroup {
  return {
    name: `plan for ${gpus} GPUs, estimates`,
    rounds: 3,
    cases: [{ name: 'plan', unit: 'plans/s', work: 1, run: () => plan(request(gpus, 0)) }],
  };
}

/** As by default: three candidates confirmed by events. */
function confirmed(gpus: number): BenchGroup {
  return {
    name: `plan for ${gpus} GPUs, three candidates simulated`,
    rounds: 1,
    cases: [{ name: 'plan', unit: 'plans/s', work: 1, run: () => plan(request(gpus, 3)) }],
  };
}

function parts(): BenchGroup {
  const deployment = publishedDeployment('online');
  const setting = { accelerator: h800, model: deepSeekV3, deployment };
  const { precision, mtp, blockSizeTokens, decode: pool } = deployment;
  return {
    name: 'parts',
    rounds: 5,
    cases: [
      {
        name: 'memoryPlan',
        unit: 'pools/s',
        work: 1,
        run: () =>
          memoryPlan({
            accelerator: h800,
            model: deepSeekV3,
            phase: 'decode',
            pool,
            precision,
            mtp,
            blockSizeTokens,
          }),
      },
      { name: 'whatIf', unit: 'tables/s', work: 1, run: () => whatIf(setting) },
      {
        name: 'emitDeployment',
        unit: 'deployments/s',
        work: 1,
        run: () => emitDeployment({ ...setting, engine: 'sglang' }),
      },
    ],
  };
}

export default defineBench({
  name: 'plan',
  groups: () => [search(64), search(192), search(512), confirmed(512), parts()],
});
