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

/** CPU seconds of a whole plan: the search alone, or with the best candidates confirmed by events. */
async function planSeconds(gpus: number, simulate: number): Promise<number> {
  const start = process.cpuUsage();
  await plan(request(gpus, simulate));
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

function search(): BenchGroup {
  return {
    name: 'search alone, growth with the cluster',
    rounds: 2,
    cases: [64, 192, 512].map((gpus) => ({
      name: `plan for ${gpus} GPUs, estimates, CPU time`,
      unit: 'ms',
      measure: () => planSeconds(gpus, 0),
    })),
  };
}

/** As by default: three candidates confirmed by events. */
function confirmed(): BenchGroup {
  return {
    name: 'with simulations',
    rounds: 1,
    cases: [
      {
        name: 'plan for 512 GPUs, three candidates simulated, CPU time',
        unit: 'ms',
        measure: () => planSeconds(512, 3),
      },
    ],
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
  groups: () => [search(), confirmed(), parts()],
});
