import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deepSeekV3, emitDeployment, h100, h800, plan, planHtml, whatIf } from '@moestack/simulator';

// How many candidates to simulate by events; 0 prints estimates at once.
const simulate = Number(process.argv[2] ?? 1);

const workload = {
  requestsPerSecond: 1,
  inputTokens: { kind: 'logNormal', mean: 4000, deviation: 1, maximum: 65_536 },
  outputTokens: { kind: 'logNormal', mean: 1000, deviation: 1, maximum: 16_384 },
  cachedFraction: 0.5,
  arrivals: { kind: 'poisson' },
};
const slo = { ttftSeconds: 5, tpotSeconds: 0.05, quantile: 0.9 };
const request = { model: deepSeekV3, workload, slo, goal: 'cluster', simulate };

// Section 3.4 of the DeepSeek-V3 report: prefill with TP4 and EP32 on 4 servers, decode with TP4 and EP320 on 40.
const report = {
  prefill: { nodes: [4], tp: [4], extraSlots: [1], communicationSms: [20] },
  decode: { nodes: [40], tp: [4], extraSlots: [0] },
  mixed: false,
};

await show('352 H800s as the report describes', { ...request, accelerator: h800, gpus: 352, space: report });
const best = await show('352 H800s', { ...request, accelerator: h800, gpus: 352 });
const smaller = await show('96 H100s', { ...request, accelerator: h100, gpus: 96 });

for (const [name, result] of Object.entries({ '352-h800': best, '96-h100': smaller })) {
  const { accelerator, model } = result.request;
  const { deployment } = result.candidates[0];
  await mkdir(name, { recursive: true });
  await writeFile(
    `${name}/plan.html`,
    planHtml(result, { whatIf: whatIf({ accelerator, model, deployment }) }),
  );
  for (const { path, text } of emitDeployment({ deployment, accelerator, model, engine: 'sglang', slo }))
    await writeFile(join(name, path), text);
  console.log(`written: ${name}/plan.html, launch scripts, kubernetes.yaml, gateway.json`);
}

async function show(title, options) {
  const result = await plan(options);
  const [{ pools, gpus, plannedRequestsPerSecond, usdPerMillionOutputTokens, simulated }] = result.candidates;
  console.log(
    `${title}: ${plannedRequestsPerSecond.toFixed(0)} requests/s on ${gpus} GPUs, $${usdPerMillionOutputTokens.toFixed(2)} a million generated tokens`,
  );
  for (const { role, pool, binding } of pools)
    console.log(
      `  ${role}: ${pool.units} x TP${pool.tp} DP${pool.dp} EP${pool.ep}, ${pool.redundantExperts} redundant experts; ${binding.text}`,
    );
  if (simulated !== null)
    console.log(
      `  simulated: ${(100 * simulated.goodputShare).toFixed(0)}% of ${simulated.requests} requests in time`,
    );
  return result;
}
