import { decodeLoad, decodePlan, initialPlan } from '@moestack/placement';
import {
  accelerators,
  deepSeekV3,
  gpusOfDeployment,
  publishedDeployment,
  simulate,
} from '@moestack/simulator';
import { readText, writeText } from '../files.js';
import { imbalanceOf } from '../imbalance.js';

const load = decodeLoad(readText('load.json'));
const plan = decodePlan(readText('placement.json'));
const { nodes, gpus } = plan.deployment;
const inOrder = initialPlan(load.layers, load.experts, { nodes, gpus, replicas: load.experts });
const online = publishedDeployment('online');
const workload = {
  requestsPerSecond: 100,
  inputTokens: { kind: 'fixed', tokens: 4096 },
  outputTokens: { kind: 'fixed', tokens: 512 },
  cachedFraction: 0.5,
  arrivals: { kind: 'poisson' },
};

async function outlook(placed) {
  const imbalance = imbalanceOf(load, placed);
  const result = await simulate({
    accelerator: accelerators.h800,
    model: deepSeekV3,
    deployment: { ...online, skew: { kind: 'measured', imbalance } },
    workload,
    requestCount: 1500,
    seed: 7,
  });
  const { ttftSeconds, tpotSeconds, outputTokensPerSecond } = result;
  return { imbalance, ttftSeconds: ttftSeconds.p90, tpotSeconds: tpotSeconds.p90, outputTokensPerSecond };
}

const outlooks = { inOrder: await outlook(inOrder), planned: await outlook(plan) };
writeText('outlook.json', JSON.stringify({ schemaVersion: 1, gpus: gpusOfDeployment(online), ...outlooks }));
for (const [name, { imbalance, ttftSeconds, tpotSeconds }] of Object.entries(outlooks))
  console.log(
    `${name}: fullest rank ${imbalance.toFixed(2)} times the mean; 90 % of requests start within ${ttftSeconds.toFixed(2)} s, then ${(1000 * tpotSeconds).toFixed(1)} ms a token`,
  );
