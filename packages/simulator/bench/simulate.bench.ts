import {
  createStepCostModel,
  type Deployment,
  deepSeekV3,
  h800,
  predictKernel,
  publishedDeployment,
  simulate,
  type Workload,
} from '@moestack/simulator';
import { type BenchGroup, defineBench } from '@moestack/tooling/bench';

const notes: string[] = [];

/** Lengths as in Mooncake's conversations: 12,000 tokens in, half of them cached, 352 out. */
const workload: Workload = {
  requestsPerSecond: 100,
  inputTokens: { kind: 'logNormal', mean: 12_000, deviation: 1, maximum: 120_000 },
  outputTokens: { kind: 'logNormal', mean: 352, deviation: 1, maximum: 4000 },
  cachedFraction: 0.5,
  arrivals: { kind: 'poisson' },
};

/** Eight prefill units of 32 GPUs and one decode unit of 144. */
function deployment(): Deployment {
  const online = publishedDeployment('online');
  return { ...online, prefill: { ...online.prefill!, units: 8 } };
}

async function run(requestCount: number): Promise<void> {
  const setting = { accelerator: h800, model: deepSeekV3, deployment: deployment() };
  const { finished } = await simulate({ ...setting, workload, requestCount });
  if (finished !== requestCount) throw new Error(`${finished} of ${requestCount} requests finished`);
}

/** CPU time and memory of one long run, once: a million requests with MOESTACK_BENCH_REQUESTS=1000000. */
async function noteLongRun(): Promise<void> {
  const requests = Number(process.env['MOESTACK_BENCH_REQUESTS'] ?? 200_000);
  await run(10_000);
  const before = peakMegabytes();
  const start = process.cpuUsage();
  await run(requests);
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  const perMillion = (seconds * 1e6) / requests;
  const peak = peakMegabytes();
  notes.push(
    `${requests} requests: ${seconds.toFixed(1)} s of CPU time, ${perMillion.toFixed(1)} s a million; peak memory ${peak.toFixed(0)} MB, ${(peak - before).toFixed(0)} MB above that of 10000 requests`,
  );
}

function peakMegabytes(): number {
  return process.resourceUsage().maxRSS / 1024;
}

function growth(): BenchGroup {
  const sizes = [5000, 20_000, 80_000];
  return {
    name: 'simulate, growth with requests',
    rounds: 3,
    cases: sizes.map((requests) => ({
      name: `${requests} requests`,
      unit: 'requests/s',
      work: requests,
      run: () => run(requests),
    })),
    ratios: [
      {
        name: 'requests a second, 16 times as many requests',
        numerator: '80000 requests',
        denominator: '5000 requests',
        aim: 1,
      },
    ],
  };
}

function parts(): BenchGroup {
  const cost = createStepCostModel({
    accelerator: h800,
    model: deepSeekV3,
    deployment: publishedDeployment('online'),
    role: 'decode',
  });
  const query = { kernel_source: 'fa3', num_heads: 128, batch_size: 70, isl: 3000 };
  return {
    name: 'parts',
    rounds: 5,
    cases: [
      {
        name: 'decodeSeconds',
        unit: 'steps/s',
        work: 1000,
        run: () => {
          for (let i = 1; i <= 1000; i++) cost.decodeSeconds(i % 256 || 1, 4000 * i);
        },
      },
      {
        name: 'predictKernel',
        unit: 'kernels/s',
        work: 1,
        run: () => predictKernel('h100_sxm', 'mla_generation', query),
      },
    ],
  };
}

export default defineBench({
  name: 'simulate',
  notes,
  groups: async () => {
    await noteLongRun();
    return [growth(), parts()];
  },
});
